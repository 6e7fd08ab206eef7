"""The simulator: a BPF interpreter and a simulated bpf(2); needs no privilege and no Linux."""
