// SPDX-License-Identifier: BSD-2-Clause
/* Counts incoming packets and bytes by protocol; passes every packet. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct counter {
	__u64 packets;
	__u64 bytes;
};

struct traffic {
	struct counter arp;
	struct counter icmp;
	struct counter tcp;
	struct counter udp;
	struct counter other;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct traffic);
} traffic SEC(".maps");

static struct counter *transport(struct traffic *seen, __u8 protocol)
{
	switch (protocol) {
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return &seen->icmp;
	case IPPROTO_TCP:
		return &seen->tcp;
	case IPPROTO_UDP:
		return &seen->udp;
	default:
		return &seen->other;
	}
}

/* IPv6 extension headers and VLAN tags are not followed: such packets count as "other". */
static struct counter *classify(struct traffic *seen, void *data, void *end)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct ipv6hdr *ip6 = (void *)(eth + 1);

	if ((void *)(eth + 1) > end)
		return &seen->other;

	switch (bpf_ntohs(eth->h_proto)) {
	case ETH_P_ARP:
		return &seen->arp;
	case ETH_P_IP:
		return (void *)(ip + 1) > end ? &seen->other : transport(seen, ip->protocol);
	case ETH_P_IPV6:
		return (void *)(ip6 + 1) > end ? &seen->other : transport(seen, ip6->nexthdr);
	default:
		return &seen->other;
	}
}

SEC("xdp")
int count_packet(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 only = 0;
	struct traffic *seen = bpf_map_lookup_elem(&traffic, &only);
	struct counter *counter;

	if (!seen)
		return XDP_PASS;

	/* Each CPU has its own counters, so no atomics are needed. */
	counter = classify(seen, data, end);
	counter->packets++;
	counter->bytes += end - data;
	return XDP_PASS;
}
