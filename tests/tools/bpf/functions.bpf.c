/* What a function is called with and returns, which the tool names: by fentry or by kprobes. */
#include "tool.bpf.h"

__u64 entered, returned, bytes;
__u32 sizes[8];

static __always_inline int enter(void)
{
	if (is_wanted())
		__sync_fetch_and_add(&entered, 1);
	return 0;
}

static __always_inline int leave(long size)
{
	__u32 slot = 0;

	if (!is_wanted())
		return 0;
	__sync_fetch_and_add(&returned, 1);
	__sync_fetch_and_add(&bytes, size);
	while (slot < 7 && size >> slot)
		slot++;
	__sync_fetch_and_add(&sizes[slot & 7], 1);
	return 0;
}

SEC("fentry/dummy_function")
int BPF_PROG(on_fentry)
{
	return enter();
}

SEC("fexit/dummy_function")
int BPF_PROG(on_fexit, void *file, void *buffer, unsigned long count, void *position, long size)
{
	return leave(size);
}

SEC("kprobe/dummy_function")
int on_kprobe(struct pt_regs *ctx)
{
	return enter();
}

SEC("kretprobe/dummy_function")
int BPF_KRETPROBE(on_kretprobe, long size)
{
	return leave(size);
}
