"""Attaching programs: one module per attach mechanism, with a function and a program class."""
