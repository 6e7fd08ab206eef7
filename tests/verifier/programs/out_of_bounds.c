#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

int table[16];

SEC("socket")
int lookup(struct __sk_buff *skb)
{
	__u32 index = skb->protocol;

	if (index > 16)
		return 0;
	return table[index]; /* FAILS: out-of-bounds */
}
