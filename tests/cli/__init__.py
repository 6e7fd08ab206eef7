"""Tests of lskel.cli."""
