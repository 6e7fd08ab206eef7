#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__uint(key_size, 4);
	__uint(value_size, 16);
} values SEC(".maps");

SEC("tc")
int lock(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct bpf_spin_lock *lock = bpf_map_lookup_elem(&values, &key);

	if (!lock)
		return 0;
	bpf_spin_lock(lock); /* FAILS: missing-btf */
	bpf_spin_unlock(lock);
	return 0;
}
