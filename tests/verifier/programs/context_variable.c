#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("tc")
int control(struct __sk_buff *skb)
{
	__u32 index = skb->mark & 3;

	return skb->cb[index]; /* FAILS: modified-pointer */
}
