"""Inputs made to do harm, kept as files."""
