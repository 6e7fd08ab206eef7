"""Generators of skeletons: source text around a loader program."""
