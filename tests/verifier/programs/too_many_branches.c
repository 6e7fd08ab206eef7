#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

/* FAILS: too-large */
int heads;

SEC("socket")
int toss(struct __sk_buff *skb)
{
	for (int i = 0; i < 20000; i++)
		if (bpf_get_prandom_u32() & 1)
			heads++;
	return 0;
}
