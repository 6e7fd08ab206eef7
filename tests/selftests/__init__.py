"""The kernel's BPF selftests through lskel, beside bpftool."""
