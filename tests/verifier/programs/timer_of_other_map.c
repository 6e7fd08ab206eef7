#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct element {
	__u64 count;
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct element);
} first SEC(".maps"), second SEC(".maps");

SEC("tc")
int start(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct element *element = bpf_map_lookup_elem(&first, &key);

	if (element)
		bpf_timer_init(&element->timer, &second, 1); /* FAILS: other-map SINCE: 5.15 */
	return 0;
}
