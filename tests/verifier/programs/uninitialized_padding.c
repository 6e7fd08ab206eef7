#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct key {
	char kind;
	__u32 number;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct key);
	__type(value, __u64);
} counts SEC(".maps");

/* Since 6.3 those who have CAP_PERFMON may read what is not initialised. */
SEC("raw_tp/sys_enter")
int count(void *ctx)
{
	struct key key;

	key.kind = 1;
	key.number = bpf_get_smp_processor_id();
	return bpf_map_lookup_elem(&counts, &key) != 0; /* FAILS: uninitialized-stack BEFORE: 6.3 */
}
