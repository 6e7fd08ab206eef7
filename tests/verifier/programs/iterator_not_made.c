#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct bpf_iter_num {
	__u64 opaque;
} __attribute__((aligned(8)));
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;

SEC("raw_tp/sys_enter")
int count(void *ctx)
{
	struct bpf_iter_num it = {};

	return bpf_iter_num_next(&it) != 0; /* FAILS: iterator SINCE: 6.4 */
}
