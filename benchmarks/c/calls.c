/*
 * The calls that a table loader makes, made from here: what the kernel takes for them alone.
 * calls ROUNDS BLOB CONTEXT CONTEXT_SIZE RECORDS COUNT POINTERS COUNT; docs/loader.md has the records.
 */
#include <bpf/btf.h>
#include <stdbool.h>
#include <string.h>

#include "samples.h"

enum code { COPY, COPY_SET, ZERO, SET_IF, SKIP_IF, CALL, FIND, KSYM, CLOSE, KFUNC, PLAIN, VALUE };

struct record {
	unsigned char code, arg;
	unsigned short size;
	unsigned int a, b, c;
};

static struct btf *vmlinux;

static bool holds(int condition, int value)
{
	const bool results[] = {value != 0, value < 0, value <= 0, value == 0};

	return results[condition];
}

static void address(char *blob, unsigned int place)
{
	unsigned long long *pointer = (void *)(blob + place);

	*pointer += (long)blob;
}

/* How many records to go on by. */
static unsigned int step(char *blob, const struct record *record)
{
	int *a = (void *)(blob + record->a), *b = (void *)(blob + record->b);
	int result;

	switch (record->code) {
	case COPY:
		*a = *b;
		break;
	case COPY_SET:
		*a = *b ? *b : *a;
		break;
	case ZERO:
		*a = 0;
		break;
	case SET_IF:
		*a = *b ? (int)record->c : *a;
		break;
	case SKIP_IF:
		return holds(record->arg, *b) ? 1 + record->c : 1;
	case CALL:
		result = sys_bpf(record->arg, a, (record->size & 0xfff) + 1);
		if (result < 0)
			err(1, "command %d", record->arg);
		*b = result;
		return 1 + record->c;
	case CLOSE:
		if (*b)
			close(*b);
		*b = 0;
		break;
	case KFUNC:
		a[1] = *b;
		((short *)a)[1] = b[1];
		break;
	case PLAIN:
		if (!*b)
			((char *)a)[1] = record->arg;
		break;
	case FIND: /* resolved before */
		break;
	default:
		errx(3, "record %d is not made here", record->code);
	}
	return 1;
}

static void find(char *blob, const struct record *record)
{
	int id = btf__find_by_name_kind(vmlinux, blob + record->a, record->arg);

	if (id < 0)
		errx(3, "vmlinux has no %s", blob + record->a);
	*(int *)(blob + record->c) = id;
}

int main(int argc, char **argv)
{
	struct bytes original;
	const struct record *records;
	const unsigned int *pointers;
	unsigned int context, count, pointer_count, next;
	char *blob;

	if (argc != 9)
		errx(2, "usage: calls ROUNDS BLOB CONTEXT CONTEXT_SIZE RECORDS COUNT POINTERS COUNT");
	original = read_file(argv[2]);
	context = atoi(argv[3]);
	*(int *)((char *)original.data + context) = atoi(argv[4]);
	records = (void *)((char *)original.data + atoi(argv[5]));
	count = atoi(argv[6]);
	pointers = (void *)((char *)original.data + atoi(argv[7]));
	pointer_count = atoi(argv[8]);
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
		for (next = 0; next < pointer_count; next++)
			address(blob, pointers[next]);
		for (next = 0; next < count;)
			next += step(blob, &records[next]);
		times[1] = now();
		close_range(3, ~0U, 0);
		times[2] = now();
		print_sample(times, 2);
	}
	return 0;
}
