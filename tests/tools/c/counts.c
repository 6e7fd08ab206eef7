#include "tool.h"
#include "counts.skel.h"

static const struct {
	const char *name;
	enum bpf_map_type type;
} types[] = {
	{ "hash", BPF_MAP_TYPE_HASH },
	{ "lru_hash", BPF_MAP_TYPE_LRU_HASH },
	{ "percpu_hash", BPF_MAP_TYPE_PERCPU_HASH },
	{ "array", BPF_MAP_TYPE_ARRAY },
	{ "percpu_array", BPF_MAP_TYPE_PERCPU_ARRAY },
};

void counts(const char *variant, const char *path)
{
	struct workload work = start(path, "calls");
	struct counts_bpf *skel = HAVE(counts_bpf__open());
	bool by_cpu = strstr(variant, "percpu");
	int cpus = libbpf_num_possible_cpus();
	__u64 *values = HAVE(calloc(cpus, sizeof(*values))), sum;
	__u32 key, *previous = NULL;

	for (unsigned i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (!strcmp(variant, types[i].name))
			DO(bpf_map__set_type(skel->maps.counts, types[i].type));
	DO(bpf_map__set_max_entries(skel->maps.counts, 8));
	skel->rodata->wanted = work.pid;
	DO(counts_bpf__load(skel));
	DO(counts_bpf__attach(skel));
	cause(work);
	while (!bpf_map__get_next_key(skel->maps.counts, previous, &key, sizeof(key))) {
		DO(bpf_map__lookup_elem(skel->maps.counts, &key, sizeof(key), values,
					(by_cpu ? cpus : 1) * sizeof(*values), 0));
		sum = 0;
		for (int cpu = 0; cpu < cpus; cpu++)
			sum += values[cpu];
		printf("%u: %llu\n", key, sum);
		previous = &key;
	}
	counts_bpf__destroy(skel);
	end(work);
}
