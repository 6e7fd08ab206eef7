"""Maps as Python people expect them: one module for each shape of map."""
