#include "tool.h"
#include "many.skel.h"

static const char *names[] = { "__x64_sys_getpgid", "__x64_sys_getsid", "__x64_sys_getpriority" };
static const __u64 cookies[] = { 1000, 2000, 1ULL << 40 };

void many(const char *variant, const char *path)
{
	struct workload work = start(path, "calls");
	struct many_bpf *skel = HAVE(many_bpf__open());
	struct bpf_program *prog = skel->progs.on_any;
	LIBBPF_OPTS(bpf_kprobe_multi_opts, multi, .syms = names, .cookies = cookies, .cnt = 3);
	bool by_one = !strcmp(variant, "one link");
	struct bpf_link *links[3] = {};
	__u64 key, *previous = NULL, count;

	skel->rodata->wanted = work.pid;
	if (by_one)
		DO(bpf_program__set_expected_attach_type(prog, BPF_TRACE_KPROBE_MULTI));
	DO(many_bpf__load(skel));
	if (by_one)
		links[0] = HAVE(bpf_program__attach_kprobe_multi_opts(prog, NULL, &multi));
	for (int i = 0; !by_one && i < 3; i++) {
		LIBBPF_OPTS(bpf_kprobe_opts, each, .bpf_cookie = cookies[i]);

		links[i] = HAVE(bpf_program__attach_kprobe_opts(prog, names[i], &each));
	}
	cause(work);
	while (!bpf_map__get_next_key(skel->maps.counts, previous, &key, sizeof(key))) {
		DO(bpf_map__lookup_elem(skel->maps.counts, &key, sizeof(key), &count, sizeof(count), 0));
		printf("%llu: %llu\n", key, count);
		previous = &key;
	}
	for (int i = 0; i < 3; i++)
		bpf_link__destroy(links[i]);
	many_bpf__destroy(skel);
	end(work);
}
