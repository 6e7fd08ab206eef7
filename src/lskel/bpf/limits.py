"""What the kernel's verifier takes of a program at most."""

# Instructions (BPF_COMPLEXITY_LIMIT_INSNS, include/linux/bpf.h, since Linux 5.2).
MAX_INSNS = 1_000_000
# Maps that it uses, and kfuncs that it calls (of these names in kernel/bpf/verifier.c).
MAX_USED_MAPS = 64
MAX_KFUNC_DESCS = 256
