"""Descriptions of objects and loaders: summaries and annotated listings."""
