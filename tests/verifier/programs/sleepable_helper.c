#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

char buffer[16];

SEC("uprobe/libc.so.6:getenv")
int copy(void *ctx)
{
	bpf_copy_from_user(buffer, sizeof(buffer), ctx); /* FAILS: sleepable */
	return 0;
}
