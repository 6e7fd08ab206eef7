/* What all of the tools have: one process is traced, which the tool sets. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

/* The kernel's own types, as far as they are used: those of a vmlinux.h. */
#define __VMLINUX_H__
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct pt_regs {
	unsigned long r10, r9, r8, ax, cx, dx, si, di, ip;
};

struct bpf_perf_event_data {
	__u64 sample_period, addr;
};
#pragma clang attribute pop

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* Of a tracepoint of syscalls, as its "format" file says. */
struct syscall_enter {
	__u64 common, number, args[6];
};

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 wanted;

static __always_inline bool is_wanted(void)
{
	return bpf_get_current_pid_tgid() >> 32 == wanted;
}

/* A map that counts, of whichever type. */
static __always_inline void add_one(void *map, const void *key)
{
	__u64 one = 1, *found = bpf_map_lookup_elem(map, key);

	if (found)
		__sync_fetch_and_add(found, 1);
	else
		bpf_map_update_elem(map, key, &one, BPF_NOEXIST);
}
