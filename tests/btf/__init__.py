"""Tests of reading, printing and decoding BTF."""
