"""Load phase: from an Object to the Trace of operations that load it."""
