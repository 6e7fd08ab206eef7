#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("socket")
int leave(struct __sk_buff *skb)
{
	asm volatile("r0 = 0; exit; r0 = 1"); /* FAILS: unreachable */
	return 0;
}
