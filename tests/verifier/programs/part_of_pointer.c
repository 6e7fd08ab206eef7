#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("raw_tp/sys_enter")
int spill(void *ctx)
{
	asm volatile("*(u32 *)(r10 - 8) = %0" ::"r"(ctx) : "memory"); /* FAILS: partial-pointer */
	return 0;
}
