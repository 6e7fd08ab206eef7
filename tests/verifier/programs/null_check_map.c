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
int count(void *ctx)
{
	__u32 key = bpf_get_current_pid_tgid() >> 32;
	__u64 *seen = bpf_map_lookup_elem(&counts, &key);

	*seen += 1; /* FAILS: null-check */
	return 0;
}
