"""Generators of skeletons."""
