"""ELF files: format, a generic reader, and BPF objects."""
