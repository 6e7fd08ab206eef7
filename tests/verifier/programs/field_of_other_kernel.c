#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct task_struct {
	int no_such_member;
} __attribute__((preserve_access_index));

SEC("raw_tp/sys_enter")
int read(void *ctx)
{
	struct task_struct *task = (void *)ctx;

	return task->no_such_member; /* FAILS: core-relocation */
}
