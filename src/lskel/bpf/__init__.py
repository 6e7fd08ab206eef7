"""What all stations share about BPF: instructions, enums, `union bpf_attr`."""
