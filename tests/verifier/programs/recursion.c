#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

static __noinline int factorial(int number)
{
	volatile int n = number;

	if (n < 2)
		return 1;
	return n * factorial(n - 1); /* FAILS: call-depth SINCE: 6.12 */
}

SEC("xdp")
int count(struct xdp_md *ctx)
{
	return factorial(ctx->rx_queue_index);
}
