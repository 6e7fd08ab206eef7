"""Looking inside: what an object or a loader is and does, as data and as one HTML page."""
