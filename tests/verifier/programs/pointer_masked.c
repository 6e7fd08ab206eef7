#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

SEC("raw_tp/sys_enter")
int align(void *ctx)
{
	__u32 key = 0;
	char *value = bpf_map_lookup_elem(&counts, &key);

	if (!value)
		return 0;
	return *(char *)((long)value & ~7L); /* FAILS: pointer-arithmetic */
}
