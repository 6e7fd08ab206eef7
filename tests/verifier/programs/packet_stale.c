#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("tc")
int classify(struct __sk_buff *skb)
{
	unsigned char *data = (void *)(long)skb->data;

	if (data + 14 > (unsigned char *)(long)skb->data_end)
		return 0;
	if (bpf_skb_pull_data(skb, 64))
		return 0;
	return data[12] == 8; /* FAILS: stale-pointer */
}
