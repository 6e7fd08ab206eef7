#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("cgroup/connect4")
int connect(struct bpf_sock_addr *ctx)
{
	return ctx->user_port; /* FAILS: return-value */
}
