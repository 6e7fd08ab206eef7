"""Tests of lskel.live."""
