"""Builders of inputs: BPF objects and their parts, made in code, any part of which can be wrong."""
