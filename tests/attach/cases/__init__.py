"""The ways to attach, as data."""
