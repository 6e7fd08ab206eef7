"""What an object or a loader consists of, told to people: summaries and annotated listings."""
