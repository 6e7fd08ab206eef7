// SPDX-License-Identifier: BSD-2-Clause
/* Counts incoming packets and bytes by sender; passes every packet. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct sender {
	__u8 address[16]; /* IPv4 addresses are mapped: ::ffff:192.0.2.1 */
};

struct traffic {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 10240);
	__type(key, struct sender);
	__type(value, struct traffic);
} senders SEC(".maps");

static int sender_of(void *data, void *end, struct sender *sender)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct ipv6hdr *ip6 = (void *)(eth + 1);

	if ((void *)(eth + 1) > end)
		return -1;
	if (eth->h_proto == bpf_htons(ETH_P_IP) && (void *)(ip + 1) <= end) {
		sender->address[10] = sender->address[11] = 0xff;
		__builtin_memcpy(sender->address + 12, &ip->saddr, 4);
		return 0;
	}
	if (eth->h_proto == bpf_htons(ETH_P_IPV6) && (void *)(ip6 + 1) <= end) {
		__builtin_memcpy(sender->address, &ip6->saddr, 16);
		return 0;
	}
	return -1;
}

SEC("xdp")
int count_sender(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct traffic fresh = {}, *seen;
	struct sender sender = {};

	if (sender_of(data, end, &sender))
		return XDP_PASS;
	seen = bpf_map_lookup_elem(&senders, &sender);
	if (!seen) {
		bpf_map_update_elem(&senders, &sender, &fresh, BPF_NOEXIST);
		seen = bpf_map_lookup_elem(&senders, &sender);
		if (!seen)
			return XDP_PASS;
	}
	__sync_fetch_and_add(&seen->packets, 1);
	__sync_fetch_and_add(&seen->bytes, end - data);
	return XDP_PASS;
}
