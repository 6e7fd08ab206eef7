#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data;

	if (data[0] == 0xff) /* FAILS: packet-bounds */
		return XDP_DROP;
	return XDP_PASS;
}
