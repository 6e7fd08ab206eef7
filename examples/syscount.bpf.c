// SPDX-License-Identifier: BSD-2-Clause
/* Counts system calls by process and, optionally, by system call number. */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ANY_SYSCALL 0xffffffff

const volatile __u32 target_pid = 0; /* 0: all processes */
const volatile bool per_syscall = false;

struct syscall_key {
	__u32 pid;
	__u32 syscall; /* ANY_SYSCALL unless per_syscall */
};

struct syscall_stat {
	__u64 count;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, struct syscall_key);
	__type(value, struct syscall_stat);
} syscalls SEC(".maps");

__u64 lost; /* calls that were not counted because the map was full */

SEC("raw_tp/sys_enter")
int count_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	struct syscall_key key = {
		.pid = bpf_get_current_pid_tgid() >> 32,
		.syscall = per_syscall ? ctx->args[1] : ANY_SYSCALL,
	};
	struct syscall_stat *stat;

	if (target_pid && key.pid != target_pid)
		return 0;

	stat = bpf_map_lookup_elem(&syscalls, &key);
	if (!stat) {
		struct syscall_stat fresh = {};

		/* If another CPU inserts it first, both use that entry. */
		bpf_get_current_comm(fresh.comm, sizeof(fresh.comm));
		bpf_map_update_elem(&syscalls, &key, &fresh, BPF_NOEXIST);
		stat = bpf_map_lookup_elem(&syscalls, &key);
		if (!stat) {
			__sync_fetch_and_add(&lost, 1);
			return 0;
		}
	}
	__sync_fetch_and_add(&stat->count, 1);
	return 0;
}
