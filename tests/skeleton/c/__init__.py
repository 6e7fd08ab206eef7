"""C skeletons: they compile, load, and do as those of bpftool."""
