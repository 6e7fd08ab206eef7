"""Load phase: from an Object to the Trace of the operations that load it."""
