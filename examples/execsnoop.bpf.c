// SPDX-License-Identifier: BSD-2-Clause
/* Reports through a ring buffer every program that is executed. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "vmlinux_min.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct event {
	__u32 pid;
	__u32 ppid;
	__u32 uid;
	char comm[16];
	char filename[128];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

__u64 lost; /* events that were lost because the ring buffer was full */

/* A separate function, because its signature brings struct event into the BTF. */
static __noinline void fill(struct event *event, struct task_struct *task,
			    struct linux_binprm *binary)
{
	event->pid = task->tgid;
	event->ppid = task->real_parent->tgid;
	event->uid = bpf_get_current_uid_gid();
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	bpf_probe_read_kernel_str(event->filename, sizeof(event->filename), binary->filename);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *binary)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	fill(event, task, binary);
	bpf_ringbuf_submit(event, 0);
	return 0;
}
