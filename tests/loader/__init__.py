"""Tests of lskel.loader."""
