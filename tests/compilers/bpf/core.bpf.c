/* CO-RE: fields, their sizes, types and enums of the running kernel. */
#include "common.h"
#include <bpf/bpf_core_read.h>

#define RELOCATED __attribute__((preserve_access_index))

struct task_struct {
	int tgid;
	struct task_struct *group_leader;
	char comm[16];
} RELOCATED;

struct task_struct___other {
	int no_such_member;
} RELOCATED;

struct no_such_type {
	int member;
} RELOCATED;

enum bpf_func_id___here {
	BPF_FUNC_loop___here = 1,
	BPF_FUNC_no_such_helper___here = 2,
};

SEC("syscall")
int run(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct task_struct___other *other = (void *)task;
	char comm[16];

	results[0] = BPF_CORE_READ(task, tgid);
	results[1] = BPF_CORE_READ(task, group_leader, tgid);
	results[2] = bpf_core_field_exists(other->no_such_member);
	results[3] = bpf_core_field_size(task->comm);
	results[4] = bpf_core_type_exists(struct task_struct) +
		     2 * bpf_core_type_exists(struct no_such_type);
	results[5] = bpf_core_enum_value_exists(enum bpf_func_id___here, BPF_FUNC_loop___here) +
		     2 * bpf_core_enum_value_exists(enum bpf_func_id___here,
						    BPF_FUNC_no_such_helper___here);
	results[6] = bpf_core_enum_value(enum bpf_func_id___here, BPF_FUNC_loop___here);
	BPF_CORE_READ_STR_INTO(&comm, task, comm);
	results[7] = comm[0];
	return 0;
}
