"""What is true of map types, attach kinds and kernel features: one row each."""
