#include "tool.h"
#include "parameters.skel.h"
#include <sys/syscall.h>

void parameters(const char *variant, const char *path)
{
	struct workload work = start(path, "calls");
	struct parameters_bpf *skel = HAVE(parameters_bpf__open());
	bool by_btf = !strcmp(variant, "tp_btf");

	skel->rodata->wanted = work.pid;
	skel->rodata->number = SYS_getpgid;
	skel->rodata->last = 3;
	skel->data->tuned.least = 2;
	skel->data->tuned.step = 10;
	DO(bpf_map__set_value_size(skel->maps.data_slots, 4 * sizeof(__u64)));
	bpf_program__set_autoload(skel->progs.by_btf, by_btf);
	bpf_program__set_autoload(skel->progs.by_number, !by_btf);
	DO(parameters_bpf__load(skel));
	DO(parameters_bpf__attach(skel));
	cause(work);
	for (int i = 0; i < 4; i++)
		printf("%d: %llu\n", i, skel->data_slots->slots[i]);
	parameters_bpf__destroy(skel);
	end(work);
}
