"""Tests of lskel.load."""
