"""The report of an object or a loader, as data and as one HTML page."""
