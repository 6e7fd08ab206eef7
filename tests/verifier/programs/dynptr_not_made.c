#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

char buffer[16];

SEC("raw_tp/sys_enter")
int copy(void *ctx)
{
	struct bpf_dynptr data = {};

	return bpf_dynptr_read(buffer, sizeof(buffer), &data, 0, 0); /* FAILS: dynptr */
}
