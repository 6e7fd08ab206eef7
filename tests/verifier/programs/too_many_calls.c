#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";
static __noinline int level_9(int x) { return x * 3; }
static __noinline int level_8(int x) { return level_9(x + 1) * 3; }
static __noinline int level_7(int x) { return level_8(x + 1) * 3; } /* FAILS: call-depth BEFORE: 7.3 */
static __noinline int level_6(int x) { return level_7(x + 1) * 3; }
static __noinline int level_5(int x) { return level_6(x + 1) * 3; }
static __noinline int level_4(int x) { return level_5(x + 1) * 3; }
static __noinline int level_3(int x) { return level_4(x + 1) * 3; }
static __noinline int level_2(int x) { return level_3(x + 1) * 3; }
static __noinline int level_1(int x) { return level_2(x + 1) * 3; }

SEC("socket")
int descend(struct __sk_buff *skb)
{
	return level_1(skb->len);
}
