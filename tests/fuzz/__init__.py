"""Damaged inputs, thousands a minute, through every command.

`python -m tests.fuzz --help`; `make fuzz` runs a night of it. An input that was found to be
mishandled is kept in found/, which test_found.py runs through all commands.
"""
