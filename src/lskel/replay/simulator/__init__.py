"""The simulator: a BPF interpreter and a simulated bpf(2); needs no privileges and no Linux."""
