#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

char buffer[64];
long wanted;

SEC("raw_tp/sys_enter")
int copy(void *ctx)
{
	long size = wanted;

	if (size > 64)
		return 0;
	bpf_probe_read_user(buffer, size, (void *)4096); /* FAILS: negative-index */
	return 0;
}
