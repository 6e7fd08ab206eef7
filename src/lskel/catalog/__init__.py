"""Properties of map types and attach kinds: one row each."""
