"""Maps as Python collections: one module for each kind of map."""
