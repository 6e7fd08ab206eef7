"""Tests of the open phase."""
