"""Verifier logs, real ones and those of other loaders and kernels."""
