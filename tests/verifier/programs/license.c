#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Proprietary";

SEC("raw_tp/sys_enter")
int greet(void *ctx)
{
	static const char text[] = "hello";

	return bpf_trace_printk(text, sizeof(text)); /* FAILS: license */
}
