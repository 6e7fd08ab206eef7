"""Loaders: blob and program that replay a trace inside the kernel, and their file format."""
