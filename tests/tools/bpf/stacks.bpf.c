/* Counts stack traces; how deep they are, and how many, is up to the tool. */
#include "tool.bpf.h"

struct pair {
	__s32 in_kernel, in_user;
};

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(key_size, sizeof(__u32));
} traces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct pair);
	__type(value, __u64);
} counts SEC(".maps");

SEC("ksyscall/getpgid")
int on_call(struct pt_regs *ctx)
{
	struct pair key;

	if (!is_wanted())
		return 0;
	key.in_kernel = bpf_get_stackid(ctx, &traces, 0);
	key.in_user = bpf_get_stackid(ctx, &traces, BPF_F_USER_STACK);
	add_one(&counts, &key);
	return 0;
}
