/* Sends events to a ring buffer, or to a perf buffer where the kernel is older. */
#include "tool.bpf.h"

struct event {
	__u32 number, argument;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16384);
} events SEC(".maps");

const volatile bool has_ringbuf = true;
const struct event *unused __attribute__((unused));
__u32 number;

SEC("tp/syscalls/sys_enter_getpgid")
int on_call(struct syscall_enter *ctx)
{
	struct event event = {}, *room;

	if (!is_wanted())
		return 0;
	event.number = number++;
	event.argument = ctx->args[0];
	bpf_get_current_comm(event.comm, sizeof(event.comm));
	if (!has_ringbuf) {
		bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
		return 0;
	}
	room = bpf_ringbuf_reserve(&events, sizeof(*room), 0);
	if (!room)
		return 0;
	*room = event;
	bpf_ringbuf_submit(room, 0);
	return 0;
}
