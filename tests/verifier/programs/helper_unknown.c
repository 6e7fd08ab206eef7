#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

static long (*bpf_of_tomorrow)(void) = (void *)4711;

SEC("socket")
int call(struct __sk_buff *skb)
{
	return bpf_of_tomorrow(); /* FAILS: helper-unknown */
}
