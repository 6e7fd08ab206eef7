"""Tests of lskel.load, and of what every door to a collection has in common."""
