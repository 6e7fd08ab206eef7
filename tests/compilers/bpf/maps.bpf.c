/* Maps with keys and values of several types, maps in maps, and arrays of programs with values. */
#include "common.h"

struct key {
	unsigned int number;
	unsigned char letters[4];
};

struct value {
	long sum;
	int count;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct key);
	__type(value, struct value);
} sums SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, unsigned int);
	__type(value, long);
} per_cpu SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, int);
	__type(value, int);
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(int));
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = { [1] = &first, [3] = &second },
};

SEC("tc")
int callee(struct __sk_buff *skb)
{
	results[3] = 77;
	return 5;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(int));
	__array(values, int(void *));
} programs SEC(".maps") = {
	.values = { [1] = (void *)&callee },
};

SEC("tc")
int run(struct __sk_buff *skb)
{
	struct key key = { 7, { 'a', 'b', 'c', 'd' } };
	struct value none = { 100, 1 }, *value;
	int index = 3, zero = 0;
	unsigned int one = 1;
	long *cell;
	void *map;

	bpf_map_update_elem(&sums, &key, &none, BPF_NOEXIST);
	value = bpf_map_lookup_elem(&sums, &key);
	if (value) {
		value->sum += 23;
		__sync_fetch_and_add(&value->count, 4);
		results[0] = value->sum * 10 + value->count;
	}
	cell = bpf_map_lookup_elem(&per_cpu, &one);
	if (cell)
		results[1] = ++*cell;
	map = bpf_map_lookup_elem(&outer, &index);
	if (map) {
		index = 42;
		bpf_map_update_elem(map, &zero, &index, BPF_ANY);
		results[2] = 1; /* not map != NULL: gcc would do arithmetic with the pointer */
	}
	bpf_tail_call(skb, &programs, 1);
	return 1;
}
