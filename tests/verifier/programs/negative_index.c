#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

int table[16], position;

SEC("socket")
int lookup(struct __sk_buff *skb)
{
	int index = position;

	if (index > 15)
		return 0;
	return table[index]; /* FAILS: negative-index */
}
