"""CO-RE relocations, resolved in user space: what the kernel does from 5.17, for any BTF.

A relocation names a type, a field or an enumerator of the object's BTF (`records`). Its access path
is looked up there and in each candidate type of the kernel (`access`, `candidates`);
both give a value (`values`), and the instruction takes the kernel's (`patch`, `relocate`).

Source: Documentation/bpf/llvm_reloc.rst of the kernel; the rules are those of
tools/lib/bpf/relo_core.c, which the kernel and libbpf share.
"""
