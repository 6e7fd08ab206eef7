"""The simulated bpf(2): what the kernel holds, and each command."""
