#include "tool.h"
#include "returns.skel.h"
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>

#define TRACEFS "/sys/kernel/tracing/"

static void command(const char *text)
{
	int fd = DO(open(TRACEFS "kprobe_events", O_WRONLY | O_APPEND));

	DO(write(fd, text, strlen(text)));
	close(fd);
}

/* libbpf has no option for it: an event of tracefs has. */
static struct bpf_link *attach_with_room(struct bpf_program *prog)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr),
					.sample_period = 1 };
	FILE *file;
	int fd;

	command("r120:tools/returns do_nanosleep");
	file = HAVE(fopen(TRACEFS "events/tools/returns/id", "r"));
	if (fscanf(file, "%llu", &attr.config) != 1)
		die("its id");
	fclose(file);
	fd = DO(syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC));
	return HAVE(bpf_program__attach_perf_event(prog, fd));
}

void returns(const char *variant, const char *path)
{
	struct workload work = start(path, "sleepers");
	struct returns_bpf *skel = HAVE(returns_bpf__open());
	bool with_room = !strcmp(variant, "maxactive");
	struct bpf_link_info info = {};
	__u32 size = sizeof(info);

	skel->rodata->wanted = work.pid;
	DO(returns_bpf__load(skel));
	if (with_room)
		skel->links.on_return = attach_with_room(skel->progs.on_return);
	else
		DO(returns_bpf__attach(skel));
	cause(work);
	DO(bpf_link_get_info_by_fd(bpf_link__fd(skel->links.on_return), &info, &size));
	printf("%llu %llu\n", skel->bss->hits, info.perf_event.kprobe.missed);
	returns_bpf__destroy(skel);
	if (with_room)
		command("-:tools/returns");
	end(work);
}
