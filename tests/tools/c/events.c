#include "tool.h"
#include "events.skel.h"

struct event {
	__u32 number, argument;
	char comm[16];
};

static int print(void *unused, void *data, size_t size)
{
	struct event *event = data;

	printf("%u %u %s\n", event->number, event->argument, event->comm);
	return 0;
}

static void print_sample(void *unused, int cpu, void *data, __u32 size)
{
	print(unused, data, size);
}

void events(const char *variant, const char *path)
{
	struct workload work = start(path, "calls");
	struct events_bpf *skel = HAVE(events_bpf__open());
	bool ring = !strcmp(variant, "ring buffer");

	skel->rodata->wanted = work.pid;
	skel->rodata->has_ringbuf = ring;
	if (!ring) {
		DO(bpf_map__set_type(skel->maps.events, BPF_MAP_TYPE_PERF_EVENT_ARRAY));
		DO(bpf_map__set_key_size(skel->maps.events, sizeof(int)));
		DO(bpf_map__set_value_size(skel->maps.events, sizeof(int)));
		DO(bpf_map__set_max_entries(skel->maps.events, 0));
	}
	DO(events_bpf__load(skel));
	DO(events_bpf__attach(skel));
	if (ring) {
		struct ring_buffer *buffer =
			HAVE(ring_buffer__new(bpf_map__fd(skel->maps.events), print, NULL, NULL));

		cause(work);
		DO(ring_buffer__consume(buffer));
		ring_buffer__free(buffer);
	} else {
		struct perf_buffer *buffer = HAVE(perf_buffer__new(bpf_map__fd(skel->maps.events), 8,
								   print_sample, NULL, NULL, NULL));

		cause(work);
		DO(perf_buffer__consume(buffer));
		perf_buffer__free(buffer);
	}
	events_bpf__destroy(skel);
	end(work);
}
