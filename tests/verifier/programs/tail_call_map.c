#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} programs SEC(".maps");

SEC("xdp")
int jump(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &programs, 0); /* FAILS: map-type */
	return XDP_PASS;
}
