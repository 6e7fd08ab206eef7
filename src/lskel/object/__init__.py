"""Open phase: a BPF ELF object as data, without access to the kernel."""
