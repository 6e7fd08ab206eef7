"""Tests of lskel.replay."""
