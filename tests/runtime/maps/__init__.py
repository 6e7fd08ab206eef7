"""Maps as Python people expect them, on the running kernel."""
