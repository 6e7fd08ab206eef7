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

#pragma clang attribute pop

#endif
