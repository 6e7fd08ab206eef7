"""Tests of lskel.describe."""
