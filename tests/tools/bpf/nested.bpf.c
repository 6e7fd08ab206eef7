/* Counts in the inner map of each argument, which the tool makes. */
#include "tool.bpf.h"

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps");

SEC("tp/syscalls/sys_enter_getpgid")
int on_call(struct syscall_enter *ctx)
{
	__u32 key = ctx->args[0];
	void *inner;

	if (!is_wanted())
		return 0;
	inner = bpf_map_lookup_elem(&outer, &key);
	if (inner)
		add_one(inner, &key);
	return 0;
}
