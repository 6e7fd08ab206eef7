#include "tool.h"
#include "profile.skel.h"
#include <linux/perf_event.h>
#include <sys/syscall.h>

void profile(const char *variant, const char *path)
{
	struct workload work = start(path, "faults");
	struct profile_bpf *skel = HAVE(profile_bpf__open());
	struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE, .size = sizeof(attr),
					.config = PERF_COUNT_SW_PAGE_FAULTS, .sample_period = 1 };
	bool all = !strcmp(variant, "all processes");
	int cpus = all ? libbpf_num_possible_cpus() : 1;
	struct bpf_link **links = HAVE(calloc(cpus, sizeof(*links)));
	__u64 key, *previous = NULL, count;

	skel->rodata->wanted = work.pid;
	skel->rodata->start = 0x200000000;
	skel->rodata->end = skel->rodata->start + (64 << 12);
	DO(profile_bpf__load(skel));
	for (int cpu = 0; cpu < cpus; cpu++) {
		int fd = syscall(SYS_perf_event_open, &attr, all ? -1 : work.pid, all ? cpu : -1, -1,
				 PERF_FLAG_FD_CLOEXEC);

		if (fd < 0 && errno == ENODEV)
			continue; /* the CPU is offline */
		links[cpu] = HAVE(bpf_program__attach_perf_event(skel->progs.on_fault, DO(fd)));
	}
	cause(work);
	while (!bpf_map__get_next_key(skel->maps.pages, previous, &key, sizeof(key))) {
		DO(bpf_map__lookup_elem(skel->maps.pages, &key, sizeof(key), &count, sizeof(count), 0));
		printf("%llu: %llu\n", key, count);
		previous = &key;
	}
	for (int cpu = 0; cpu < cpus; cpu++)
		bpf_link__destroy(links[cpu]);
	profile_bpf__destroy(skel);
	end(work);
}
