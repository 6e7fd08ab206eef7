#include "tool.h"
#include "uprobes.skel.h"

void uprobes(const char *variant, const char *path)
{
	struct workload work = start(path, "additions");
	struct uprobes_bpf *skel = HAVE(uprobes_bpf__open());
	LIBBPF_OPTS(bpf_uprobe_opts, entry, .func_name = "add");
	LIBBPF_OPTS(bpf_uprobe_opts, leaving, .func_name = "add", .retprobe = true);
	pid_t pid = strcmp(variant, "one process") ? -1 : work.pid;
	struct { int a, b, result; } key, *previous = NULL;
	__u64 count;

	skel->rodata->wanted = work.pid;
	DO(uprobes_bpf__load(skel));
	skel->links.on_enter =
		HAVE(bpf_program__attach_uprobe_opts(skel->progs.on_enter, pid, path, 0, &entry));
	skel->links.on_leave =
		HAVE(bpf_program__attach_uprobe_opts(skel->progs.on_leave, pid, path, 0, &leaving));
	cause(work);
	while (!bpf_map__get_next_key(skel->maps.calls, previous, &key, sizeof(key))) {
		DO(bpf_map__lookup_elem(skel->maps.calls, &key, sizeof(key), &count, sizeof(count), 0));
		printf("%d %d %d: %llu\n", key.a, key.b, key.result, count);
		previous = &key;
	}
	uprobes_bpf__destroy(skel);
	end(work);
}
