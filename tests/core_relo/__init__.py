"""CO-RE relocations in user space, beside libbpf."""
