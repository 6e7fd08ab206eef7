"""Tests of lskel.load_phase."""
