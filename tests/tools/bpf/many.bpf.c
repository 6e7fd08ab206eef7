/* One program on many functions, which it tells apart by their cookies. */
#include "tool.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u64);
	__type(value, __u64);
} counts SEC(".maps");

SEC("kprobe")
int on_any(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);

	if (is_wanted())
		add_one(&counts, &cookie);
	return 0;
}
