"""BPF objects for these tests: two that lskel loads, one that it cannot load."""

from __future__ import annotations

from lskel.object.model import Object
from lskel.object.open import open_object
from tests.build.clang import compile_bpf, simple_examples

EXAMPLE_OBJECTS = simple_examples()

LOADABLE = """
#define CORE __attribute__((preserve_access_index))
#define __noinline __attribute__((noinline))

struct inner_s { int a, b; } CORE;
struct task_struct {
	struct { struct { long deep[4]; }; int shallow; };
	union { int number; struct inner_s in; };
	struct task_struct *next;
} CORE;
enum color { RED, GREEN = 7 };
typedef enum color color_t;

static volatile int one, two;
int answer = 42;
const volatile int limits[2] = {1, 2};
long sum __attribute__((section(".data.own")));

struct template_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, int);
	__type(value, struct inner_s);
};
struct template_map first SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, int);
	__array(values, struct template_map);
} outer SEC(".maps") = {.values = {[1] = &first}};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC | (1 << 28));
	__uint(max_entries, 4);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(key_size, 4);
	__uint(value_size, 8);
} name_of_more_than_15 SEC(".maps");

static __noinline int add(struct task_struct *task)
{
	one++;
	two++;
	sum += __builtin_preserve_access_index(task->deep[3]);
	return task->in.b + task[2].shallow;
}

__noinline int visit(void *map, int *key, void *value, void *context)
{
	return answer;
}

SEC("raw_tp/sys_enter")
int main_program(void *context)
{
	struct task_struct *task = (void *)bpf_get_current_task_btf();
	int key = limits[1];

	answer += add(task);
	if (__builtin_preserve_enum_value(*(color_t *)GREEN, 0))
		answer++;
	if (__builtin_preserve_type_info(*(enum color *)0, 0))
		answer++;
	bpf_for_each_map_elem(&first, visit, 0, 0);
	bpf_map_lookup_elem(&outer, &key);
	bpf_map_delete_elem(&name_of_more_than_15, &key);
	return 0;
}

SEC("?fentry.s/do_unlinkat")
int optional(void *context)
{
	return answer;
}
"""

ASKING = """
struct task;
extern struct task *bpf_task_acquire(struct task *) __ksym;
extern void bpf_task_release___v2(struct task *) __attribute__((weak)) __ksym;
extern const struct rq runqueues __ksym;
extern const int bpf_test_modules __attribute__((weak)) __ksym;
extern const void bpf_prog_active __ksym;
extern int CONFIG_HZ __kconfig;
extern enum libbpf_tristate CONFIG_IPV6 __attribute__((weak)) __kconfig;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, int);
	__type(value, int);
} shared SEC(".maps");
struct {
	__uint(type, 33); /* BPF_MAP_TYPE_ARENA */
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 10);
} arena SEC(".maps");
int __attribute__((address_space(1))) in_arena = 7;
int kfuncs(void *);
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int (void *));
} programs SEC(".maps") = {.values = {[1] = &kfuncs}};

SEC("raw_tp/sys_enter")
int kfuncs(void *context)
{
	struct task *task = bpf_task_acquire(context);

	if (task && bpf_task_release___v2)
		bpf_task_release___v2(bpf_task_acquire(task));
	bpf_tail_call(context, &programs, 1);
	return CONFIG_HZ + CONFIG_IPV6;
}

SEC("?raw_tp/sys_exit")
int variables(void *context)
{
	int key = 0;

	bpf_map_delete_elem(&shared, &key);
	return (long)&runqueues + (&bpf_test_modules ? bpf_test_modules : 0) + (long)&bpf_prog_active;
}

SEC("freplace")
int replacing(void *context)
{
	return 0;
}

SEC("?no such section")
int unknown(void *context)
{
	return 0;
}
"""

UNLOADABLE = """
struct task;
extern struct task *bpf_task_acquire(struct task *) __attribute__((weak)) __ksym;
extern const void bpf_prog_active __ksym;
extern int CONFIG_HZ __kconfig;

SEC("raw_tp/sys_enter")
int with_kfunc(void *context)
{
	return !!bpf_task_acquire(context);
}

SEC("raw_tp/sys_exit")
int with_variables(void *context)
{
	return CONFIG_HZ + (long)&bpf_prog_active;
}

SEC("no such section")
int unknown(void *context)
{
	return 0;
}

SEC("xdp")
int harmless(void *context)
{
	return 2;
}
"""


def loadable(*, big_endian: bool = False) -> Object:
    """`LOADABLE` as an object called `sample`."""
    return open_object(compile_bpf(LOADABLE, big_endian=big_endian), "sample")


def asking(*, big_endian: bool = False) -> Object:
    """`ASKING`, which needs much of its target, as an object called `asking`."""
    return open_object(compile_bpf(ASKING, big_endian=big_endian), "asking")


def unloadable() -> Object:
    """`UNLOADABLE` as an object called `sample`."""
    return open_object(compile_bpf(UNLOADABLE), "sample")
