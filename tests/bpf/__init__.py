"""Tests of instructions, enums and attributes."""
