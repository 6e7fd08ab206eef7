#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct sock {
};
extern __u32 tcp_reno_ssthresh(struct sock *sk) __ksym;

SEC("tc")
int call(struct __sk_buff *skb)
{
	return tcp_reno_ssthresh((struct sock *)skb); /* FAILS: kfunc-not-allowed */
}
