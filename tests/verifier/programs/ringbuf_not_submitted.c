#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("raw_tp/sys_enter")
int report(void *ctx)
{
	__u64 *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0); /* FAILS: reference-leak */

	if (!event)
		return 0;
	*event = bpf_get_current_pid_tgid();
	if (*event == 0)
		return 0;
	bpf_ringbuf_submit(event, 0);
	return 0;
}
