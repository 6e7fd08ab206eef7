"""Loaders: the blob and the program that replay a trace inside the kernel, and their file."""
