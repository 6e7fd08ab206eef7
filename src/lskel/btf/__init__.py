"""BTF, the type format of BPF objects and of the kernel: types, reading, editing, values, C text."""
