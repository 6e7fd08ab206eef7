/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The few kernel structures that the examples look into. Only names and types matter here:
 * CO-RE finds the real offsets in the BTF of the kernel that loads the program.
 */
#ifndef LSKEL_VMLINUX_MIN_H
#define LSKEL_VMLINUX_MIN_H

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *real_parent;
};

struct linux_binprm {
	const char *filename;
};

struct in6_addr {
	union {
		unsigned char u6_addr8[16];
	} in6_u;
};

struct sock_common {
	unsigned int skc_daddr;
	unsigned short skc_dport;
	unsigned short skc_family;
	struct in6_addr skc_v6_daddr;
};

struct sock {
	struct sock_common __sk_common;
};

/* Of sched_ext, Linux 6.12. */
enum scx_dsq_id_flags {
	SCX_DSQ_LOCAL = 0x8000000000000002ULL,
};

enum scx_public_consts {
	SCX_SLICE_DFL = 20000000ULL,
	SCX_SLICE_INF = ~0ULL, /* the kernel finds an enum of 64 bits only by one of 64 bits */
};

enum scx_exit_kind {
	SCX_EXIT_NONE,
};

struct scx_exit_info {
	enum scx_exit_kind kind;
	const char *reason;
	char *msg;
};

struct sched_ext_ops {
	int (*select_cpu)(struct task_struct *, int, unsigned long long);
	void (*enqueue)(struct task_struct *, unsigned long long);
	void (*dispatch)(int, struct task_struct *);
	int (*init)(void);
	void (*exit)(struct scx_exit_info *);
	char name[128];
};

#pragma clang attribute pop

#endif
