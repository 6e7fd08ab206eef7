#include "tool.h"
#include "nested.skel.h"

void nested(const char *variant, const char *path)
{
	struct workload work = start(path, "calls");
	struct nested_bpf *skel = HAVE(nested_bpf__open());
	bool hash = !strcmp(variant, "hash");
	enum bpf_map_type type = hash ? BPF_MAP_TYPE_HASH : BPF_MAP_TYPE_ARRAY;
	int like, fds[6];

	DO(bpf_map__set_max_entries(skel->maps.outer, 5));
	/* Not by bpf_map__inner_map(): what it returns has no object, and setters crash (libbpf 1.7). */
	like = DO(bpf_map_create(type, "like", 4, 8, 8, NULL));
	DO(bpf_map__set_inner_map_fd(skel->maps.outer, like));
	skel->rodata->wanted = work.pid;
	DO(nested_bpf__load(skel));
	for (int key = 1; key <= 5; key++) {
		fds[key] = DO(bpf_map_create(type, "inner", 4, 8, 8, NULL));
		DO(bpf_map__update_elem(skel->maps.outer, &key, 4, &fds[key], 4, BPF_NOEXIST));
	}
	DO(nested_bpf__attach(skel));
	cause(work);
	for (int key = 1; key <= 5; key++) {
		__u32 index, *previous = NULL;
		__u64 count;

		while (!bpf_map_get_next_key(fds[key], previous, &index)) {
			DO(bpf_map_lookup_elem(fds[key], &index, &count));
			printf("%d %u: %llu\n", key, index, count);
			previous = &index;
		}
		close(fds[key]);
	}
	close(like);
	nested_bpf__destroy(skel);
	end(work);
}
