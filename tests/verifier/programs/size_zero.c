#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

char name[16];
__u32 size;

SEC("raw_tp/sys_enter")
int copy(void *ctx)
{
	__u64 wanted = size;

	if (wanted > sizeof(name))
		return 0;
	bpf_get_current_comm(name, wanted); /* FAILS: zero-size */
	return 0;
}
