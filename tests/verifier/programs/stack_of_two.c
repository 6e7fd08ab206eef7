#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

static __noinline int inner(int number)
{
	volatile char buffer[300];

	buffer[number & 255] = 1;
	return buffer[number & 127];
}

SEC("socket")
int outer(struct __sk_buff *skb)
{
	volatile char buffer[304];

	buffer[skb->len & 255] = 1; /* FAILS: stack-size */
	return inner(skb->mark) + buffer[skb->mark & 255];
}
