"""Tests of what this machine supports, and of whether an object would load here."""
