// Programs of the network: each counts its runs and changes nothing.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

__u64 hits;

#define COUNTS(section, name, type, result)				\
	SEC(section) int name(type *ctx)				\
	{								\
		__sync_fetch_and_add(&hits, 1);				\
		return result;						\
	}

COUNTS("?xdp", on_xdp, struct xdp_md, XDP_PASS)

// -1 is TC_ACT_UNSPEC, TCX_NEXT and NETKIT_NEXT: whoever comes next decides.
COUNTS("?tc", on_tc, struct __sk_buff, -1)
COUNTS("?tc/ingress", on_tc_ingress, struct __sk_buff, -1)
COUNTS("?tcx/ingress", on_tcx_ingress, struct __sk_buff, -1)
COUNTS("?tcx/egress", on_tcx_egress, struct __sk_buff, -1)
COUNTS("?netkit/primary", on_netkit_primary, struct __sk_buff, -1)
COUNTS("?netkit/peer", on_netkit_peer, struct __sk_buff, -1)

COUNTS("?socket", on_socket, struct __sk_buff, ctx->len)
COUNTS("?sk_reuseport", on_reuseport, struct sk_reuseport_md, SK_PASS)
COUNTS("?sk_lookup", on_lookup, struct bpf_sk_lookup, SK_PASS)
COUNTS("?flow_dissector", on_dissect, struct __sk_buff, BPF_FLOW_DISSECTOR_CONTINUE)

// Its context is a struct of the kernel's own.
COUNTS("?netfilter", on_netfilter, void, 1 /* NF_ACCEPT */)
