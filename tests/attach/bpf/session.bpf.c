// Programs that run at entry and at return of functions: each counts the returns for which it left a
// number at entry. The event is getsid(2).
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define MARK 0x5e5510

extern _Bool bpf_session_is_return(void *ctx) __ksym;
extern __u64 *bpf_session_cookie(void *ctx) __ksym;

__u64 hits;

static __always_inline int in_session(void *ctx)
{
	__u64 *kept = bpf_session_cookie(ctx);

	if (!bpf_session_is_return(ctx))
		*kept = MARK;
	else if (*kept == MARK)
		__sync_fetch_and_add(&hits, 1);
	return 0;
}

#define COUNTS(section, name) SEC("?" section) int name(void *ctx) { return in_session(ctx); }

COUNTS("fsession/security_task_getsid", on_fsession)
COUNTS("fsession.s/__x64_sys_getsid", on_fsession_s)
COUNTS("fsession.multi/security_task_get?id", on_fsession_multi)
COUNTS("fsession.multi.s/__x64_sys_getsid", on_fsession_multi_s)
