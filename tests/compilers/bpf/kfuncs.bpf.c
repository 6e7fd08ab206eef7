/* Kernel functions, one of which does not exist, and an address of the kernel's. */
#include "common.h"

struct task_struct {}; /* the kernel's is another kind of type than one that is only declared */

extern struct task_struct *bpf_task_from_pid(int pid) __ksym __weak;
extern void bpf_task_release(struct task_struct *task) __ksym __weak;
extern int lskel_no_such_function(int number) __ksym __weak;
extern const void bpf_prog_put __ksym;

int pid;

SEC("syscall")
int run(void *ctx)
{
	struct task_struct *task;

	if (lskel_no_such_function)
		results[0] = lskel_no_such_function(1);
	else
		results[0] = 11;
	if (bpf_task_from_pid) {
		task = bpf_task_from_pid(pid);
		if (task) {
			results[1] = 12;
			bpf_task_release(task);
		}
	}
	results[2] = (long)&bpf_prog_put < 0; /* the kernel is in the upper half */
	return 0;
}
