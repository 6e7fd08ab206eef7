"""Tests on other kernels than the running one, in virtual machines."""
