/* Events through a ring buffer. */
#include "common.h"

struct event {
	unsigned long long number;
	short small;
	char text[12];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct event *unused; /* its type is in the BTF */

SEC("syscall")
int run(void *ctx)
{
	struct event *event;
	int i;

	for (i = 0; i < 3; i++) {
		event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
		if (!event)
			return 1;
		event->number = 1000000000000ULL + i;
		event->small = -i;
		__builtin_memset(event->text, 0, sizeof(event->text));
		__builtin_memcpy(event->text, "an event", 9);
		bpf_ringbuf_submit(event, 0);
		results[0]++;
	}
	return 0;
}
