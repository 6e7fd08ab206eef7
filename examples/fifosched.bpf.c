// SPDX-License-Identifier: BSD-2-Clause
/*
 * A scheduler for all tasks of the machine (sched_ext): tasks that find no idle CPU wait in one queue
 * for all CPUs, first in, first out.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "vmlinux_min.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SHARED 0 /* the number of the queue; the kernel's own have the top bit set */

/* The kernel's values, which CO-RE reads from its BTF. */
#define DSQ_LOCAL bpf_core_enum_value(enum scx_dsq_id_flags, SCX_DSQ_LOCAL)
#define SLICE bpf_core_enum_value(enum scx_public_consts, SCX_SLICE_DFL)

extern int scx_bpf_create_dsq(__u64 dsq_id, int node) __ksym;
extern int scx_bpf_select_cpu_dfl(struct task_struct *p, int prev_cpu, __u64 wake_flags,
				  bool *is_idle) __ksym;
extern void scx_bpf_dsq_insert(struct task_struct *p, __u64 dsq_id, __u64 slice,
			       __u64 enq_flags) __ksym;
extern bool scx_bpf_dsq_move_to_local(__u64 dsq_id) __ksym;

/* How often tasks got an idle CPU at once, waited in the queue, and were taken from it. */
struct counts {
	__u64 idle;
	__u64 queued;
	__u64 taken;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counts);
} counters SEC(".maps");

int exit_kind; /* 0 while it schedules */
char exit_reason[128];
char exit_message[128];

static struct counts *of_this_cpu(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&counters, &key);
}

SEC("struct_ops/fifo_select_cpu")
int BPF_PROG(fifo_select_cpu, struct task_struct *p, int prev_cpu, __u64 wake_flags)
{
	struct counts *counts = of_this_cpu();
	bool is_idle = false;
	int cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &is_idle);

	/* An idle CPU takes it at once; fifo_enqueue() is not called. */
	if (is_idle) {
		scx_bpf_dsq_insert(p, DSQ_LOCAL, SLICE, 0);
		if (counts)
			counts->idle++;
	}
	return cpu;
}

SEC("struct_ops/fifo_enqueue")
void BPF_PROG(fifo_enqueue, struct task_struct *p, __u64 enq_flags)
{
	struct counts *counts = of_this_cpu();

	scx_bpf_dsq_insert(p, SHARED, SLICE, enq_flags);
	if (counts)
		counts->queued++;
}

/* A CPU has nothing to run. */
SEC("struct_ops/fifo_dispatch")
void BPF_PROG(fifo_dispatch, int cpu, struct task_struct *prev)
{
	struct counts *counts = of_this_cpu();

	if (scx_bpf_dsq_move_to_local(SHARED) && counts)
		counts->taken++;
}

SEC("struct_ops.s/fifo_init")
int BPF_PROG(fifo_init)
{
	return scx_bpf_create_dsq(SHARED, -1);
}

SEC("struct_ops/fifo_exit")
void BPF_PROG(fifo_exit, struct scx_exit_info *info)
{
	bpf_probe_read_kernel_str(exit_reason, sizeof(exit_reason), info->reason);
	bpf_probe_read_kernel_str(exit_message, sizeof(exit_message), info->msg);
	exit_kind = info->kind;
}

SEC(".struct_ops.link")
struct sched_ext_ops fifo = {
	.select_cpu = (void *)fifo_select_cpu,
	.enqueue = (void *)fifo_enqueue,
	.dispatch = (void *)fifo_dispatch,
	.init = (void *)fifo_init,
	.exit = (void *)fifo_exit,
	.name = "fifosched",
};
