/* A static probe, with the arguments and sizes that libbpf's newest usdt.bpf.h can read. */
#include "tool.bpf.h"
#include <bpf/usdt.bpf.h>

struct seen {
	__u64 hits, cookie;
	__s64 count, values[3], sizes[3];
};

struct seen seen;

SEC("usdt")
int BPF_USDT(on_probe, long first)
{
	long value;
	int i;

	seen.hits++;
	seen.cookie = bpf_usdt_cookie(ctx);
	seen.count = bpf_usdt_arg_cnt(ctx);
	for (i = 0; i < 3; i++) {
		value = 0;
		bpf_usdt_arg(ctx, i, &value);
		seen.values[i] += value;
		seen.sizes[i] = bpf_usdt_arg_size(ctx, i);
	}
	return 0;
}
