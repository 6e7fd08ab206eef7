// Programs of a cgroup: each counts its runs and allows everything.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

__u64 hits;

#define COUNTS(section, name, type)					\
	SEC("?" section) int name(type *ctx)				\
	{								\
		__sync_fetch_and_add(&hits, 1);				\
		return 1;						\
	}

COUNTS("cgroup/skb", skb, struct __sk_buff)
COUNTS("cgroup_skb/ingress", skb_ingress, struct __sk_buff)
COUNTS("cgroup_skb/egress", skb_egress, struct __sk_buff)
COUNTS("cgroup/sock_create", sock_create, struct bpf_sock)
COUNTS("cgroup/sock_release", sock_release, struct bpf_sock)
COUNTS("cgroup/post_bind4", post_bind4, struct bpf_sock)
COUNTS("cgroup/post_bind6", post_bind6, struct bpf_sock)
COUNTS("cgroup/bind4", bind4, struct bpf_sock_addr)
COUNTS("cgroup/bind6", bind6, struct bpf_sock_addr)
COUNTS("cgroup/connect4", connect4, struct bpf_sock_addr)
COUNTS("cgroup/connect6", connect6, struct bpf_sock_addr)
COUNTS("cgroup/connect_unix", connect_unix, struct bpf_sock_addr)
COUNTS("cgroup/sendmsg4", sendmsg4, struct bpf_sock_addr)
COUNTS("cgroup/sendmsg6", sendmsg6, struct bpf_sock_addr)
COUNTS("cgroup/sendmsg_unix", sendmsg_unix, struct bpf_sock_addr)
COUNTS("cgroup/recvmsg4", recvmsg4, struct bpf_sock_addr)
COUNTS("cgroup/recvmsg6", recvmsg6, struct bpf_sock_addr)
COUNTS("cgroup/recvmsg_unix", recvmsg_unix, struct bpf_sock_addr)
COUNTS("cgroup/getpeername4", getpeername4, struct bpf_sock_addr)
COUNTS("cgroup/getpeername6", getpeername6, struct bpf_sock_addr)
COUNTS("cgroup/getpeername_unix", getpeername_unix, struct bpf_sock_addr)
COUNTS("cgroup/getsockname4", getsockname4, struct bpf_sock_addr)
COUNTS("cgroup/getsockname6", getsockname6, struct bpf_sock_addr)
COUNTS("cgroup/getsockname_unix", getsockname_unix, struct bpf_sock_addr)
COUNTS("cgroup/sysctl", sysctl, struct bpf_sysctl)
COUNTS("cgroup/getsockopt", getsockopt, struct bpf_sockopt)
COUNTS("cgroup/setsockopt", setsockopt, struct bpf_sockopt)
COUNTS("cgroup/dev", device, struct bpf_cgroup_dev_ctx)
COUNTS("sockops", sock_ops, struct bpf_sock_ops)
COUNTS("lsm_cgroup/socket_bind", lsm_bind, void)
