#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data;
	unsigned char *end = (void *)(long)ctx->data_end;

	asm volatile("" : "+r"(end));
	end -= 14; /* FAILS: pointer-arithmetic */
	asm volatile("" : "+r"(end));
	return data > end ? XDP_PASS : XDP_DROP;
}
