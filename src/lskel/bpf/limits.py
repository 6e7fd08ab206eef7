"""Limits of the kernel's verifier."""

# Instructions (BPF_COMPLEXITY_LIMIT_INSNS, include/linux/bpf.h, since Linux 5.2).
MAX_INSNS = 1_000_000
# Maps and kfuncs that a program uses (same names in kernel/bpf/verifier.c).
MAX_USED_MAPS = 64
MAX_KFUNC_DESCS = 256
