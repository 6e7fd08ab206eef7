// Functions for another program to take the place of.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

// Whoever replaces them may return anything, so the compiler must not know what they return.
__attribute__((noinline)) int verdict(int n)
{
	asm volatile("" : "+r"(n));
	return n;
}

__attribute__((noinline)) int other(int n)
{
	asm volatile("" : "+r"(n));
	return n + 1;
}

SEC("tc") int calls(struct __sk_buff *skb)
{
	return verdict(1) + other(10);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
