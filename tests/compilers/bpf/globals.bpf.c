/* Variables of all kinds of sections, set before loading, and written by a program. */
#include "common.h"

struct point {
	char name[6];
	short x;
	int y;
	long z;
};

const volatile int factor = 3;
const volatile char word[8] = "word";
static volatile int hidden = 20;
int counted = 4;
struct point points[2] = { { "one", 1, 2, 3 }, { "two", -4, -5, -6 } };
unsigned char bytes[5] SEC(".data.bytes") = { 1, 2, 3, 4, 5 };
const int primes[4] = { 2, 3, 5, 7 };
bool done;

SEC("syscall")
int run(void *ctx)
{
	const char *text = "constant";
	unsigned int i;

	for (i = 0; i < 2; i++)
		results[0] += points[i].x + points[i].y + points[i].z + points[i].name[1];
	for (i = 0; i < 5; i++)
		results[1] = 10 * results[1] + bytes[i];
	results[2] = factor * counted++;
	results[3] = word[0] + word[4];
	results[4] = ++hidden;
	results[5] = primes[counted & 3];
	results[6] = bpf_strncmp(text, 8, "constant");
	done = true;
	return 0;
}
