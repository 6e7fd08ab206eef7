"""Kernels as files."""
