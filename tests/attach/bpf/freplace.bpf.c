#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("freplace/verdict") int replacement(int n)
{
	return n + 100;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
