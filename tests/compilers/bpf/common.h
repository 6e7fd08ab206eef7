/* What all sources of the suite include. */
#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

long results[8]; /* what a run has found; tests/compilers/cases.py says what is right */
