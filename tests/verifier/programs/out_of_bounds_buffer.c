#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, char[8]);
} small SEC(".maps");

SEC("raw_tp/sys_enter")
int name(void *ctx)
{
	__u32 key = 0;
	char *found = bpf_map_lookup_elem(&small, &key);

	if (found)
		bpf_get_current_comm(found, 16); /* FAILS: out-of-bounds */
	return 0;
}
