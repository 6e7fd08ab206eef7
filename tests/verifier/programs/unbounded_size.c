#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

char buffer[64];

SEC("socket")
int copy(struct __sk_buff *skb)
{
	__u32 size = skb->len;

	if (size < 8)
		return 0;
	bpf_skb_load_bytes(skb, 0, buffer, size); /* FAILS: unbounded-access */
	return 0;
}
