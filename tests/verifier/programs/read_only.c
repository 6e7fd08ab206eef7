#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

const volatile __u64 limit = 10;

SEC("raw_tp/sys_enter")
int raise(void *ctx)
{
	*(volatile __u64 *)&limit = 20; /* FAILS: read-only */
	return 0;
}
