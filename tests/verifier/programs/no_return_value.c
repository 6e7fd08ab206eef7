#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

int calls;

SEC("raw_tp/sys_enter")
int count(void *ctx)
{
	calls++;
} /* FAILS: uninitialized-register */
