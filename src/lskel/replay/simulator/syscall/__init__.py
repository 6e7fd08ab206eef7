"""The simulated bpf(2): the kernel's state, and each command."""
