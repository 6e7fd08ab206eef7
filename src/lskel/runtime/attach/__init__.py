"""Attaching programs: one module for each way that the kernel has, function and program class."""
