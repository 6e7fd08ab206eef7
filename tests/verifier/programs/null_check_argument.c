#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, char[16]);
} names SEC(".maps");

SEC("raw_tp/sys_enter")
int name(void *ctx)
{
	__u32 key = 0;
	char *found = bpf_map_lookup_elem(&names, &key);

	bpf_get_current_comm(found, 16); /* FAILS: null-check */
	return 0;
}
