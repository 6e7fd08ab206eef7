"""Debug information of BPF objects: types that the compiler left out of BTF."""
