/* struct_ops: a congestion control, which calls the kernel's own functions. */
#include "common.h"
#include <bpf/bpf_tracing.h>

struct sock {}; /* the kernel's is another kind of type than one that is only declared */

struct tcp_congestion_ops {
	unsigned int (*ssthresh)(struct sock *);
	void (*cong_avoid)(struct sock *, unsigned int, unsigned int);
	unsigned int (*undo_cwnd)(struct sock *);
	char name[16];
} __attribute__((preserve_access_index));

extern unsigned int tcp_reno_ssthresh(struct sock *sk) __ksym;
extern void tcp_reno_cong_avoid(struct sock *sk, unsigned int ack, unsigned int acked) __ksym;
extern unsigned int tcp_reno_undo_cwnd(struct sock *sk) __ksym;

SEC("struct_ops/ssthresh")
unsigned int BPF_PROG(ssthresh, struct sock *sk)
{
	return tcp_reno_ssthresh(sk);
}

SEC("struct_ops/cong_avoid")
void BPF_PROG(cong_avoid, struct sock *sk, unsigned int ack, unsigned int acked)
{
	__sync_fetch_and_add(&results[0], 1);
	tcp_reno_cong_avoid(sk, ack, acked);
}

SEC("struct_ops/undo_cwnd")
unsigned int BPF_PROG(undo_cwnd, struct sock *sk)
{
	return tcp_reno_undo_cwnd(sk);
}

SEC(".struct_ops")
struct tcp_congestion_ops control = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)undo_cwnd,
	.name = "lskel_suite",
};
