#include "tool.h"
#include "stacks.skel.h"

static void print_trace(struct stacks_bpf *skel, int id, int depth)
{
	__u64 addresses[127] = {};

	DO(bpf_map__lookup_elem(skel->maps.traces, &id, sizeof(id), addresses, depth * 8, 0));
	for (int i = 0; i < depth && addresses[i]; i++)
		printf("%s%llx", i ? "," : " ", addresses[i]);
}

void stacks(const char *variant, const char *path)
{
	struct workload work = start(path, "stacks");
	struct stacks_bpf *skel = HAVE(stacks_bpf__open());
	int depth = atoi(variant);
	struct { __s32 in_kernel, in_user; } key, *previous = NULL;
	__u64 count;

	DO(bpf_map__set_value_size(skel->maps.traces, depth * sizeof(__u64)));
	DO(bpf_map__set_max_entries(skel->maps.traces, 1024));
	skel->rodata->wanted = work.pid;
	DO(stacks_bpf__load(skel));
	DO(stacks_bpf__attach(skel));
	cause(work);
	while (!bpf_map__get_next_key(skel->maps.counts, previous, &key, sizeof(key))) {
		DO(bpf_map__lookup_elem(skel->maps.counts, &key, sizeof(key), &count, sizeof(count), 0));
		printf("%llu", count);
		print_trace(skel, key.in_kernel, depth);
		print_trace(skel, key.in_user, depth);
		printf("\n");
		previous = &key;
	}
	stacks_bpf__destroy(skel);
	end(work);
}
