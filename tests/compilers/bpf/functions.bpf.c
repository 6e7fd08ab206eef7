/* Functions: static, global, weak, in .text and called from several programs, and callbacks. */
#include "common.h"

static __noinline long add(long a, long b)
{
	volatile long sum = a;

	return sum + b;
}

__noinline int twice(int number)
{
	return add(number, number);
}

__weak int overridden(int number)
{
	return twice(number) + 1;
}

static long on_turn(unsigned int index, void *context)
{
	*(long *)context += add(index, 1);
	return index >= 9;
}

SEC("syscall")
int run(void *ctx)
{
	long sum = 0;

	results[0] = add(40, 2);
	results[1] = overridden(50);
	results[2] = bpf_loop(100, on_turn, &sum, 0);
	results[3] = sum;
	return 0;
}

SEC("syscall")
int other(void *ctx)
{
	results[4] = twice(add(3, 4));
	return 0;
}
