/*
 * Makes the calls of a table loader from user space, to measure the kernel's time for them alone.
 * calls ROUNDS BLOB CONTEXT CONTEXT_SIZE RECORDS COUNT; docs/loader.md describes the records.
 */
#include <bpf/btf.h>
#include <stdbool.h>
#include <string.h>

#include "samples.h"

enum code { COPY, SET, POINT, SKIP_IF, CALL, CLOSE, VALUE, FIND, KSYM };

struct record {
	unsigned char code, arg;
	unsigned short size;
	unsigned int a, b, c;
};

static struct btf *vmlinux;

static bool holds(int condition, int value)
{
	return condition >> (value < 0 ? 1 : value > 0 ? 2 : 0) & 1;
}

/* Executes a record; returns how many records to advance. */
static unsigned int step(char *blob, const struct record *record)
{
	int *a = (void *)(blob + record->a), *b = (void *)(blob + record->b);
	int result;

	switch (record->code) {
	case COPY:
		*a = *b;
		break;
	case SET:
		*a = record->c;
		break;
	case POINT:
		*(unsigned long long *)a = (long)b;
		break;
	case SKIP_IF:
		return holds(record->arg, *b) ? 1 + record->c : 1;
	case CALL:
		result = sys_bpf(record->arg, a, record->size + 1);
		if (result < 0)
			err(1, "command %d", record->arg);
		*b = result;
		break;
	case CLOSE:
		close(*b);
		*b = 0;
		break;
	case FIND: /* resolved before */
		break;
	default:
		errx(3, "record code %d is not supported here", record->code);
	}
	return 1;
}

static void find(char *blob, const struct record *record)
{
	int id = btf__find_by_name_kind(vmlinux, blob + record->a, record->arg);

	if (id < 0)
		errx(3, "vmlinux has no %s", blob + record->a);
	*(long long *)(blob + record->b) = id;
}

int main(int argc, char **argv)
{
	struct bytes original;
	const struct record *records;
	unsigned int context, count, next;
	char *blob;

	if (argc != 7)
		errx(2, "usage: calls ROUNDS BLOB CONTEXT CONTEXT_SIZE RECORDS COUNT");
	original = read_file(argv[2]);
	context = atoi(argv[3]);
	*(int *)((char *)original.data + context) = atoi(argv[4]);
	records = (void *)((char *)original.data + atoi(argv[5]));
	count = atoi(argv[6]);
	for (next = 0; next < count; next++) {
		if (records[next].code != FIND)
			continue;
		if (!vmlinux && !(vmlinux = btf__load_vmlinux_btf()))
			err(1, "vmlinux");
		find(original.data, &records[next]);
	}
	blob = malloc(original.size);
	puts("calls close");
	for (int round = atoi(argv[1]); round > 0; round--) {
		long long times[3];

		memcpy(blob, original.data, original.size);
		times[0] = now();
		for (next = 0; next < count;)
			next += step(blob, &records[next]);
		times[1] = now();
		close_range(3, ~0U, 0);
		times[2] = now();
		print_sample(times, 2);
	}
	return 0;
}
