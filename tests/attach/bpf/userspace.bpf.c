// Programs of user space: each counts its runs, and changes nothing. The event is getloadavg(3).
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define COOKIE 0xc00c1e

__u64 hits;

#define COUNTS_IF(section, name, condition)				\
	SEC("?" section) int name(void *ctx)				\
	{								\
		if (condition)						\
			__sync_fetch_and_add(&hits, 1);			\
		return 0;						\
	}
#define COUNTS(section, name) COUNTS_IF(section, name, 1)
#define WITH_COOKIE(section, name) COUNTS_IF(section, name, bpf_get_attach_cookie(ctx) == COOKIE)

COUNTS("uprobe/libc.so.6:getloadavg", on_uprobe)
COUNTS("uprobe.s/libc.so.6:getloadavg", on_uprobe_s)
COUNTS("uprobe", on_given)
WITH_COOKIE("uprobe", uprobe_cookie)
COUNTS("uretprobe/libc.so.6:getloadavg", on_uretprobe)
COUNTS("uprobe.multi/libc.so.6:getloada?g", on_multi)
COUNTS("uprobe.multi", on_multi_given)
WITH_COOKIE("uprobe.multi", multi_cookie)
COUNTS("uretprobe.multi/libc.so.6:getload*", on_multi_return)
COUNTS("uprobe.session/libc.so.6:getloadavg", on_session)
