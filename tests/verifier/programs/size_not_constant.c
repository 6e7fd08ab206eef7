#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("tc")
int report(struct __sk_buff *skb)
{
	void *event = bpf_ringbuf_reserve(&events, skb->len, 0); /* FAILS: constant-argument */

	if (event)
		bpf_ringbuf_discard(event, 0);
	return 0;
}
