"""Tests of what talks to the running kernel."""
