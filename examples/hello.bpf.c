// SPDX-License-Identifier: BSD-2-Clause
/* The smallest useful program: counts system calls, and records which command made the last one. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

__u64 calls;
char last_comm[16];

SEC("raw_tp/sys_enter")
int hello(void *ctx)
{
	__sync_fetch_and_add(&calls, 1);
	bpf_get_current_comm(last_comm, sizeof(last_comm));
	return 0;
}
