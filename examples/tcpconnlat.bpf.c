// SPDX-License-Identifier: BSD-2-Clause
/* Reports through a ring buffer how long each TCP connection took to be established. */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "vmlinux_min.h"

#define AF_INET 2
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_CLOSE 7

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct event {
	__u64 nanoseconds; /* from the SYN to the answer */
	__u32 pid;
	__u16 family; /* AF_INET or AF_INET6 */
	__u16 port;
	__u8 address[16]; /* an IPv4 address uses the first four bytes */
	char comm[16];
};

struct start {
	__u64 at;
	__u32 pid;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct sock *);
	__type(value, struct start);
} starts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

const volatile __u64 at_least; /* nanoseconds; faster connections are not reported */
__u64 lost; /* events that were lost because the ring buffer was full */

/* A separate function, because its signature brings struct event into the BTF. */
static __noinline void fill(struct event *event, struct sock *sk, const struct start *start)
{
	__builtin_memset(event->address, 0, sizeof(event->address));
	event->pid = start->pid;
	event->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	event->port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	__builtin_memcpy(event->comm, start->comm, sizeof(event->comm));
	if (event->family == AF_INET)
		BPF_CORE_READ_INTO((__u32 *)event->address, sk, __sk_common.skc_daddr);
	else
		BPF_CORE_READ_INTO(&event->address, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
}

static void report(struct sock *sk, const struct start *start, __u64 took)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		__sync_fetch_and_add(&lost, 1);
		return;
	}
	event->nanoseconds = took;
	fill(event, sk, start);
	bpf_ringbuf_submit(event, 0);
}

/* Every state change of a TCP socket; TCP_SYN_SENT is set in the process that connects. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_state, struct sock *sk, int old_state, int new_state)
{
	struct start begun = {}, *start;
	__u64 took;

	if (new_state == TCP_SYN_SENT) {
		begun.at = bpf_ktime_get_ns();
		begun.pid = bpf_get_current_pid_tgid() >> 32;
		bpf_get_current_comm(begun.comm, sizeof(begun.comm));
		bpf_map_update_elem(&starts, &sk, &begun, BPF_ANY);
		return 0;
	}
	if (old_state != TCP_SYN_SENT)
		return 0;
	start = bpf_map_lookup_elem(&starts, &sk);
	if (start && new_state == TCP_ESTABLISHED) {
		took = bpf_ktime_get_ns() - start->at;
		if (took >= at_least)
			report(sk, start, took);
	}
	bpf_map_delete_elem(&starts, &sk);
	return 0;
}
