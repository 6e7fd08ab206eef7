"""Twelve tools of the kinds that projects have: BPF programs, and what drives them."""
