"""Open phase: what a BPF ELF object says, as data. No kernel is touched."""
