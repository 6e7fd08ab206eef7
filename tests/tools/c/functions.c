#include "tool.h"
#include "functions.skel.h"

void functions(const char *variant, const char *path)
{
	struct workload work = start(path, "files");
	struct functions_bpf *skel = HAVE(functions_bpf__open());
	bool by_fentry = !strcmp(variant, "fentry");
	const char *function = "vfs_read";

	skel->rodata->wanted = work.pid;
	if (by_fentry) {
		DO(bpf_program__set_attach_target(skel->progs.on_fentry, 0, function));
		DO(bpf_program__set_attach_target(skel->progs.on_fexit, 0, function));
	}
	bpf_program__set_autoload(skel->progs.on_fentry, by_fentry);
	bpf_program__set_autoload(skel->progs.on_fexit, by_fentry);
	bpf_program__set_autoload(skel->progs.on_kprobe, !by_fentry);
	bpf_program__set_autoload(skel->progs.on_kretprobe, !by_fentry);
	DO(functions_bpf__load(skel));
	if (by_fentry) {
		DO(functions_bpf__attach(skel));
	} else {
		skel->links.on_kprobe =
			HAVE(bpf_program__attach_kprobe(skel->progs.on_kprobe, false, function));
		skel->links.on_kretprobe =
			HAVE(bpf_program__attach_kprobe(skel->progs.on_kretprobe, true, function));
	}
	cause(work);
	printf("%llu %llu %llu\n", skel->bss->entered, skel->bss->returned, skel->bss->bytes);
	for (int i = 0; i < 8; i++)
		printf("%d: %u\n", i, skel->bss->sizes[i]);
	functions_bpf__destroy(skel);
	end(work);
}
