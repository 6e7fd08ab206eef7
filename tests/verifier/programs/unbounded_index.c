#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64[64]);
} table SEC(".maps");

SEC("tc")
int lookup(struct __sk_buff *skb)
{
	__u32 key = 0;
	__u64 *values = bpf_map_lookup_elem(&table, &key);

	if (!values)
		return 0;
	return values[skb->mark]; /* FAILS: unbounded-access */
}
