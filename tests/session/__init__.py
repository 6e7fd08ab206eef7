"""Tests of lskel.session."""
