#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("raw_tp/sys_enter")
int registers(struct bpf_raw_tracepoint_args *ctx)
{
	unsigned long *regs = (void *)ctx->args[0];

	return regs[15] == 0; /* FAILS: untyped-pointer */
}
