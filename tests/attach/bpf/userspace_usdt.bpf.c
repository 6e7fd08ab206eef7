// A program of a probe of Python: it counts its runs where arguments and cookie are right.
#define __x86_64__
#define __TARGET_ARCH_x86
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/usdt.bpf.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define COOKIE 0xc00c1e

__u64 hits;

SEC("?usdt//usr/bin/python3:python:gc__start")
int BPF_USDT(on_usdt, int generation)
{
	if (bpf_usdt_arg_cnt(ctx) == 1 && generation == 1)
		__sync_fetch_and_add(&hits, 1);
	return 0;
}

SEC("?kprobe")
int BPF_USDT(kprobe_as_usdt, int generation)
{
	if (bpf_usdt_arg_cnt(ctx) == 1 && generation == 1)
		__sync_fetch_and_add(&hits, 1);
	return 0;
}

SEC("?usdt")
int BPF_USDT(usdt_cookie, int generation)
{
	if (bpf_usdt_cookie(ctx) == COOKIE && generation == 1)
		__sync_fetch_and_add(&hits, 1);
	return 0;
}
