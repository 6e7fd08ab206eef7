#include "tool.h"

struct seen {
	__u64 hits, cookie;
	__s64 count, values[3], sizes[3];
};

#include "usdt.skel.h"

void usdt(const char *variant, const char *path)
{
	struct workload work = start(path, "probes");
	struct usdt_bpf *skel = HAVE(usdt_bpf__open());
	LIBBPF_OPTS(bpf_usdt_opts, opts, .usdt_cookie = 0xc00c1e);

	DO(usdt_bpf__load(skel));
	skel->links.on_probe = HAVE(bpf_program__attach_usdt(skel->progs.on_probe, work.pid, path,
							     "tools", variant, &opts));
	cause(work);
	printf("%llu %llx %lld\n", skel->bss->seen.hits, skel->bss->seen.cookie,
	       skel->bss->seen.count);
	for (int i = 0; i < 3; i++)
		printf("%d: %lld of %lld\n", i, skel->bss->seen.values[i], skel->bss->seen.sizes[i]);
	usdt_bpf__destroy(skel);
	end(work);
}
