"""ELF files: their formats, a reader for all of them, and what BPF objects have besides."""
