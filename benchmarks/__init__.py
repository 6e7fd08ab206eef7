"""The cost of lskel in comparison with bpftool: `python -m benchmarks`."""
