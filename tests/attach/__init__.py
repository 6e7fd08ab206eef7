"""Attaching each kind of program, and seeing that it runs then and not after."""
