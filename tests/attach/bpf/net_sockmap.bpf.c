// Programs of a sockmap: each counts its runs and changes nothing.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

__u64 hits;

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} sockets SEC(".maps");

#define COUNTS(section, name, type, result)				\
	SEC(section) int name(type *ctx)				\
	{								\
		__sync_fetch_and_add(&hits, 1);				\
		return result;						\
	}

COUNTS("?sk_skb/stream_parser", on_parse, struct __sk_buff, ctx->len)
COUNTS("?sk_skb/stream_verdict", on_stream_verdict, struct __sk_buff, SK_PASS)
COUNTS("?sk_skb/verdict", on_verdict, struct __sk_buff, SK_PASS)
COUNTS("?sk_msg", on_msg, struct sk_msg_md, SK_PASS)

// A parser runs only where there is a verdict.
SEC("?sk_skb/stream_verdict")
int passes(struct __sk_buff *skb)
{
	return SK_PASS;
}
