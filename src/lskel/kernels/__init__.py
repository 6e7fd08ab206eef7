"""Kernels as files: their BTF, wherever it is kept. No kernel needs to run for it."""
