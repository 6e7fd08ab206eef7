// Programs of kernel tracing: each counts its runs, and changes nothing. The event is getsid(2).
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

// Of x86-64.
#define NR_GETSID 124
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

// The arguments of sys_enter are a struct pt_regs and the number.
#define ARGUMENT(n) (((__u64 *)ctx)[n])

COUNTS_IF("raw_tp/sys_enter", on_raw_tp, ARGUMENT(1) == NR_GETSID)
COUNTS_IF("raw_tp", on_any_raw_tp, ARGUMENT(1) == NR_GETSID)
COUNTS_IF("raw_tp.w/sys_enter", on_writable, ARGUMENT(1) == NR_GETSID)
COUNTS_IF("tp_btf/sys_enter", on_tp_btf, ARGUMENT(1) == NR_GETSID)
COUNTS("tp/syscalls/sys_enter_getsid", on_tp)
COUNTS("fentry/security_task_getsid", on_fentry)
COUNTS("fexit/security_task_getsid", on_fexit)
COUNTS("fentry.multi/security_task_get?id", on_fentry_multi)
COUNTS("fentry.multi", on_fentry_multi_given)
COUNTS("fexit.multi/security_task_get*", on_fexit_multi)
COUNTS("fmod_ret/security_task_getsid", on_fmod_ret)
COUNTS("lsm/task_getsid", on_lsm)
COUNTS("kprobe/security_task_getsid", on_kprobe)
COUNTS("kretprobe/security_task_getsid", on_kretprobe)
COUNTS("ksyscall/getsid", on_ksyscall)
COUNTS("kretsyscall/getsid", on_kretsyscall)
COUNTS("kprobe.multi/security_task_get*", on_kprobe_multi)
COUNTS("kretprobe.multi/security_task_get?id", on_kretprobe_multi)
COUNTS("kprobe.session/security_task_getsid", on_session)
COUNTS("perf_event", on_perf_event)
COUNTS("iter/task", on_task)

// Programs that may sleep: only they may call this, which fails for a null pointer.
#define READS_USER_MEMORY ({ char byte; bpf_copy_from_user(&byte, 1, 0) != 0; })

COUNTS_IF("raw_tp.s/sys_enter", on_raw_tp_s, ARGUMENT(1) == NR_GETSID && READS_USER_MEMORY)
COUNTS_IF("tp_btf.s/sys_enter", on_tp_btf_s, ARGUMENT(1) == NR_GETSID && READS_USER_MEMORY)
COUNTS_IF("tp.s/syscalls/sys_enter_getsid", on_tp_s, READS_USER_MEMORY)
COUNTS_IF("fentry.multi.s/__x64_sys_getsid", on_fentry_multi_s, READS_USER_MEMORY)
COUNTS_IF("fexit.multi.s/__x64_sys_getsid", on_fexit_multi_s, READS_USER_MEMORY)

#define HAS_COOKIE (bpf_get_attach_cookie(ctx) == COOKIE)

COUNTS_IF("raw_tp/sys_enter", raw_tp_cookie, ARGUMENT(1) == NR_GETSID && HAS_COOKIE)
COUNTS_IF("tp_btf/sys_enter", tp_btf_cookie, ARGUMENT(1) == NR_GETSID && HAS_COOKIE)
COUNTS_IF("tp/syscalls/sys_enter_getsid", tp_cookie, HAS_COOKIE)
COUNTS_IF("fentry/security_task_getsid", fentry_cookie, HAS_COOKIE)
COUNTS_IF("lsm/task_getsid", lsm_cookie, HAS_COOKIE)
COUNTS_IF("fentry.multi", fentry_multi_cookie, HAS_COOKIE)
COUNTS_IF("kprobe", kprobe_cookie, HAS_COOKIE)
COUNTS_IF("kprobe.multi", kprobe_multi_cookie, HAS_COOKIE)
COUNTS_IF("perf_event", perf_event_cookie, HAS_COOKIE)
