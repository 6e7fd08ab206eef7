"""BTF, the type format of BPF objects and the kernel: reading, editing, values, C declarations."""
