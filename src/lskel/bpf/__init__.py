"""BPF basics for all packages: instructions, enums, `union bpf_attr`."""
