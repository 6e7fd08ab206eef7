/* Samples of a perf event: the addresses of page faults. */
#include "tool.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} pages SEC(".maps");

const volatile __u64 start, end;

SEC("perf_event")
int on_fault(struct bpf_perf_event_data *ctx)
{
	__u64 page = (ctx->addr - start) >> 12;

	if (ctx->addr >= start && ctx->addr < end && is_wanted())
		add_one(&pages, &page);
	return 0;
}
