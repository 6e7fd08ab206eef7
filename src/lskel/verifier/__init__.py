"""Verifier logs told to people: what the kernel found wrong, where in the source, what helps.

It takes the text of a log, from whichever loader and kernel, and asks no kernel.
"""
