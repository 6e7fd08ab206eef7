#include "tool.h"
#include "fallback.skel.h"

static bool exists(const char *tracepoint)
{
	char path[200];

	snprintf(path, sizeof(path), "/sys/kernel/tracing/events/syscalls/%s", tracepoint);
	return !access(path, F_OK);
}

void fallback(const char *variant, const char *path)
{
	struct workload work = start(path, "calls");
	struct fallback_bpf *skel = HAVE(fallback_bpf__open());
	bool may = !strcmp(variant, "tracepoints");
	bool newer = may && exists("sys_enter_not_yet_there");
	bool older = may && !newer && exists("sys_enter_getpgid");

	skel->rodata->wanted = work.pid;
	bpf_program__set_autoload(skel->progs.newer, newer);
	bpf_program__set_autoload(skel->progs.older, older);
	bpf_program__set_autoload(skel->progs.probe, !newer && !older);
	DO(fallback_bpf__load(skel));
	DO(fallback_bpf__attach(skel));
	cause(work);
	printf("%llu %llu %llu\n", skel->bss->by_newer, skel->bss->by_older, skel->bss->by_probe);
	fallback_bpf__destroy(skel);
	end(work);
}
