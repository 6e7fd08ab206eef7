/* Arithmetic, jumps, atomic operations, byte order. */
#include "common.h"

#define TURNS 20

volatile unsigned int state = 12345;
long word = 10;
unsigned short shorts[4] = { 0x1234, 0xfffe, 3, 4 };

static __always_inline unsigned int next(void)
{
	state = state * 1103515245 + 12345;
	return state;
}

static __noinline int choose(unsigned int what)
{
	switch (what) {
	case 0: return 3;
	case 1: return 1;
	case 2: return 4;
	case 3: return 15;
	case 4: return 92;
	case 5: return 65;
	default: return -1;
	}
}

SEC("syscall")
int run(void *ctx)
{
	unsigned int i, a;
	int b;

	for (i = 0; i < TURNS; i++) {
		a = next();
		b = (int)next() >> 3;
		results[0] += a / 7 + a % 13 + (a << 5) - (b >> 2);
		results[1] ^= (long)b * a;
		results[2] += choose(a % 8);
		results[3] += (signed char)a + (short)b;
	}
	results[4] = __builtin_bswap32(0x01020304) + (long)__builtin_bswap16(shorts[0]);
	results[5] = (short)shorts[1];
	__sync_fetch_and_add(&word, 32);
	results[6] = __sync_val_compare_and_swap(&word, 42, 50) + word;
	results[7] = __sync_lock_test_and_set(&word, 9) + word;
	return 0;
}
