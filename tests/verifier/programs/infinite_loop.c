#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("socket")
int spin(struct __sk_buff *skb)
{
	if (skb->len > 100)
		while (1) /* FAILS: infinite-loop */
			asm volatile("");
	return 0;
}
