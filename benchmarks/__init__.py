"""What lskel costs, beside bpftool: `python -m benchmarks`."""
