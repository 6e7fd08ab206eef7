/* Counts by argument, in a map whose type the tool chooses. */
#include "tool.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

SEC("tp/syscalls/sys_enter_getpgid")
int on_call(struct syscall_enter *ctx)
{
	__u32 key = ctx->args[0];

	if (is_wanted())
		add_one(&counts, &key);
	return 0;
}
