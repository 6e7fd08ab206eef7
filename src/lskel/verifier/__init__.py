"""Explanations of verifier logs: the error, the source line, and what to change.

The input is the text of a log, of any loader and kernel. No kernel is accessed.
"""
