/* Kernel probes by their section names; the tool attaches them in user space. */
#include "tool.bpf.h"

struct call {
	int a, b, result;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct call);
} running SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct call);
	__type(value, __u64);
} calls SEC(".maps");

SEC("kprobe/dummy")
int BPF_KPROBE(on_enter, int a, int b)
{
	__u32 thread = bpf_get_current_pid_tgid();
	struct call call = { a, b };

	if (is_wanted())
		bpf_map_update_elem(&running, &thread, &call, BPF_ANY);
	return 0;
}

SEC("kretprobe/dummy")
int BPF_KRETPROBE(on_leave, int result)
{
	__u32 thread = bpf_get_current_pid_tgid();
	struct call *call = bpf_map_lookup_elem(&running, &thread);

	if (!call)
		return 0;
	call->result = result;
	add_one(&calls, call);
	bpf_map_delete_elem(&running, &thread);
	return 0;
}
