/* The tracepoint of a newer kernel, that of older ones, or else a probe: one of them is loaded. */
#include "tool.bpf.h"

__u64 by_newer, by_older, by_probe;

SEC("tp/syscalls/sys_enter_not_yet_there")
int newer(struct syscall_enter *ctx)
{
	if (is_wanted())
		by_newer += ctx->args[0];
	return 0;
}

SEC("tp/syscalls/sys_enter_getpgid")
int older(struct syscall_enter *ctx)
{
	if (is_wanted())
		by_older += ctx->args[0];
	return 0;
}

SEC("ksyscall/getpgid")
int BPF_KSYSCALL(probe, int argument)
{
	if (is_wanted())
		by_probe += argument;
	return 0;
}
