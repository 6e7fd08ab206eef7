/* Returns of a function in which many threads are at the same time. */
#include "tool.bpf.h"

__u64 hits;

SEC("kretprobe/do_nanosleep")
int on_return(struct pt_regs *ctx)
{
	if (is_wanted())
		__sync_fetch_and_add(&hits, 1);
	return 0;
}
