/* Parameters in data sections, an array as long as the tool wants, and one of two programs. */
#include "tool.bpf.h"

const volatile int number = -1;
const volatile __u32 last;
struct {
	__u32 least, step;
} tuned = { 100, 100 };
__u64 slots[1] SEC(".data.slots");

static __always_inline int count(struct pt_regs *regs, long called)
{
	unsigned long argument;

	if (called != number || !is_wanted())
		return 0;
	bpf_probe_read_kernel(&argument, sizeof(argument), &regs->di);
	if (argument >= tuned.least)
		__sync_fetch_and_add(&slots[argument & last], tuned.step);
	return 0;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(by_btf, struct pt_regs *regs, long called)
{
	return count(regs, called);
}

SEC("raw_tp/sys_enter")
int BPF_PROG(by_number, struct pt_regs *regs, long called)
{
	return count(regs, called);
}
