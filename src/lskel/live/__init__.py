"""A loaded object at work: attached, its events read, its maps shown."""
