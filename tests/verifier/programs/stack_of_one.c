#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

/* CLANG: -mllvm -bpf-stack-size=1024 */
SEC("socket")
int large(struct __sk_buff *skb)
{
	volatile char buffer[600];

	asm volatile("" : : "r"(buffer));
	buffer[0] = 1; /* FAILS: stack-limit */
	return buffer[599];
}
