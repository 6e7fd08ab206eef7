"""Maps with fields that the kernel manages, with memory, with other maps: used, and as libbpf's."""

from __future__ import annotations

import json
import mmap
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lskel
from lskel.btf.kinds import Kind
from lskel.errors import ReadOnly
from lskel.runtime.one_element import lookup
from lskel.skeleton.dynamic import DynamicCollection
from tests.build.clang import compile_bpf
from tests.conftest import Run, lacking
from tests.loads import Load, both
from tests.runtime.programs import kernel_btf, run_program

pytestmark = pytest.mark.kernel

# Debian's headers are older than the kernel's fields and kfuncs.
HEAD = """
#define MAP(kind, n, k, v) __uint(type, kind); __uint(max_entries, n); __type(key, k); \\
    __type(value, v)
#define __kfunc __attribute__((section(".ksyms")))
#define __contains(type, node) __attribute__((btf_decl_tag("contains:" #type ":" #node)))
#define container_of(p, t, m) ((t *)((void *)(p) - __builtin_offsetof(t, m)))
#define NEW(type) ((struct type *)bpf_obj_new_impl(__builtin_btf_type_id(*(struct type *)0, 0), 0))
struct bpf_list_head { __u64 : 64; __u64 : 64; } __attribute__((aligned(8)));
struct bpf_list_node { __u64 : 64; __u64 : 64; __u64 : 64; } __attribute__((aligned(8)));
struct bpf_rb_root { __u64 : 64; __u64 : 64; } __attribute__((aligned(8)));
struct bpf_rb_node { __u64 : 64; __u64 : 64; __u64 : 64; __u64 : 64; } __attribute__((aligned(8)));
struct bpf_wq { __u64 : 64; __u64 : 64; } __attribute__((aligned(8)));
struct task_struct { int pid; } __attribute__((preserve_access_index));
extern void *bpf_obj_new_impl(__u64 local_type, void *meta) __kfunc;
extern void bpf_obj_drop_impl(void *object, void *meta) __kfunc;
"""

LOCK = """
struct value { struct bpf_spin_lock lock; int count; };
struct { MAP(BPF_MAP_TYPE_HASH, 4, int, struct value); } locked SEC(".maps");
SEC("syscall") int use(void *ctx)
{
    int key = 0; struct value zero = {}, *v;
    bpf_map_update_elem(&locked, &key, &zero, BPF_NOEXIST);
    v = bpf_map_lookup_elem(&locked, &key);
    if (!v) return 1;
    bpf_spin_lock(&v->lock); v->count += 3; bpf_spin_unlock(&v->lock);
    return 0;
}
"""

TIMER = """
struct value { struct bpf_timer timer; int done; };
struct { MAP(BPF_MAP_TYPE_ARRAY, 1, int, struct value); } timers SEC(".maps");
static int fire(void *map, int *key, struct value *v) { v->done = 1; return 0; }
SEC("syscall") int use(void *ctx)
{
    int key = 0; struct value *v = bpf_map_lookup_elem(&timers, &key);
    if (!v || bpf_timer_init(&v->timer, &timers, 1) || bpf_timer_set_callback(&v->timer, fire))
        return 1;
    return bpf_timer_start(&v->timer, 0, 0);
}
"""

WORK_QUEUE = """
struct value { struct bpf_wq wq; int done; };
struct { MAP(BPF_MAP_TYPE_ARRAY, 1, int, struct value); } queues SEC(".maps");
typedef int (work)(void *map, int *key, void *value);
extern int bpf_wq_init(struct bpf_wq *wq, void *map, unsigned flags) __kfunc;
extern int bpf_wq_start(struct bpf_wq *wq, unsigned flags) __kfunc;
extern int bpf_wq_set_callback_impl(struct bpf_wq *wq, work *f, unsigned flags, void *aux) __kfunc;
static int done(void *map, int *key, void *value) { ((struct value *)value)->done = 1; return 0; }
SEC("syscall") int use(void *ctx)
{
    int key = 0; struct value *v = bpf_map_lookup_elem(&queues, &key);
    if (!v || bpf_wq_init(&v->wq, &queues, 0) || bpf_wq_set_callback_impl(&v->wq, done, 0, 0))
        return 1;
    return bpf_wq_start(&v->wq, 0);
}
"""

KPTR = """
struct value { struct task_struct __attribute__((btf_type_tag("kptr"))) *task; };
struct { MAP(BPF_MAP_TYPE_ARRAY, 1, int, struct value); } kept SEC(".maps");
extern struct task_struct *bpf_task_acquire(struct task_struct *task) __kfunc;
extern void bpf_task_release(struct task_struct *task) __kfunc;
int seen;
SEC("syscall") int use(void *ctx)
{
    int key = 0; struct value *v = bpf_map_lookup_elem(&kept, &key);
    struct task_struct *task = bpf_task_acquire(bpf_get_current_task_btf());
    if (!task) return 1;
    if (!v) { bpf_task_release(task); return 2; }
    task = bpf_kptr_xchg(&v->task, task);
    if (!task) return 0;
    seen = task->pid;
    bpf_task_release(task);
    return 0;
}
"""

LIST = """
struct item { struct bpf_list_node link; int value; };
struct value { struct bpf_spin_lock lock; struct bpf_list_head head __contains(item, link); };
struct { MAP(BPF_MAP_TYPE_ARRAY, 1, int, struct value); } lists SEC(".maps");
extern int bpf_list_push_front_impl(struct bpf_list_head *head, struct bpf_list_node *node,
                                    void *meta, __u64 offset) __kfunc;
extern struct bpf_list_node *bpf_list_pop_front(struct bpf_list_head *head) __kfunc;
int popped;
static int push(struct value *v, int value)
{
    struct item *item = NEW(item);
    if (!item) return 1;
    item->value = value;
    bpf_spin_lock(&v->lock);
    bpf_list_push_front_impl(&v->head, &item->link, 0, 0);
    bpf_spin_unlock(&v->lock);
    return 0;
}
SEC("syscall") int use(void *ctx)
{
    int key = 0; struct value *v = bpf_map_lookup_elem(&lists, &key);
    struct bpf_list_node *node;
    if (!v || push(v, 41) || push(v, 42)) return 1;
    bpf_spin_lock(&v->lock);
    node = bpf_list_pop_front(&v->head);
    bpf_spin_unlock(&v->lock);
    if (!node) return 2;
    popped = container_of(node, struct item, link)->value;
    bpf_obj_drop_impl(container_of(node, struct item, link), 0);
    return 0; /* the other one goes with the map */
}
"""

# In a data section of its own, as the kernel wants it of a lock and what it protects.
TREE = """
struct leaf { struct bpf_rb_node link; int value; };
#define PRIVATE SEC(".data.tree") __attribute__((visibility("hidden"), aligned(8)))
PRIVATE struct bpf_spin_lock lock;
PRIVATE struct bpf_rb_root root __contains(leaf, link);
PRIVATE int added;
extern int bpf_rbtree_add_impl(struct bpf_rb_root *root, struct bpf_rb_node *node,
                               _Bool (less)(struct bpf_rb_node *, const struct bpf_rb_node *),
                               void *meta, __u64 offset) __kfunc;
extern struct bpf_rb_node *bpf_rbtree_first(struct bpf_rb_root *root) __kfunc;
extern struct bpf_rb_node *bpf_rbtree_remove(struct bpf_rb_root *root,
                                             struct bpf_rb_node *node) __kfunc;
int smallest;
static _Bool less(struct bpf_rb_node *a, const struct bpf_rb_node *b)
{
    return container_of(a, struct leaf, link)->value < container_of(b, struct leaf, link)->value;
}
static int add(int value)
{
    struct leaf *leaf = NEW(leaf);
    if (!leaf) return 1;
    leaf->value = value;
    bpf_spin_lock(&lock);
    bpf_rbtree_add_impl(&root, &leaf->link, less, 0, 0);
    added++;
    bpf_spin_unlock(&lock);
    return 0;
}
SEC("syscall") int use(void *ctx)
{
    struct bpf_rb_node *node;
    if (add(7) || add(3) || add(5)) return 1;
    bpf_spin_lock(&lock);
    node = bpf_rbtree_first(&root);
    if (!node) { bpf_spin_unlock(&lock); return 2; }
    node = bpf_rbtree_remove(&root, node);
    bpf_spin_unlock(&lock);
    if (!node) return 3;
    smallest = container_of(node, struct leaf, link)->value;
    bpf_obj_drop_impl(container_of(node, struct leaf, link), 0);
    return 0;
}
"""

BLOOM = """
struct { __uint(type, BPF_MAP_TYPE_BLOOM_FILTER); __uint(max_entries, 1000); __uint(map_extra, 7);
         __type(value, int); } bloom SEC(".maps");
int present, absent;
SEC("raw_tp/sys_enter") int use(void *ctx)
{
    int one = 1, two = 2;
    bpf_map_push_elem(&bloom, &one, 0);
    present = bpf_map_peek_elem(&bloom, &one); absent = bpf_map_peek_elem(&bloom, &two);
    return 0;
}
"""

MMAPABLE = """
struct { MAP(BPF_MAP_TYPE_ARRAY, 3, int, long); __uint(map_flags, BPF_F_MMAPABLE); }
    shared SEC(".maps");
SEC("syscall") int use(void *ctx)
{
    int key = 1; long *v = bpf_map_lookup_elem(&shared, &key);
    if (v) *v += 8;
    return 0;
}
"""

MAPS_OF_MAPS = """
struct inner { MAP(BPF_MAP_TYPE_ARRAY, 2, int, long); };
struct inner red SEC(".maps");
struct inner green SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 4); __type(key, int);
         __array(values, struct inner); } array SEC(".maps") = {
    .values = { [1] = &red, [3] = &green } };
struct { __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS); __uint(max_entries, 5); __type(key, int);
         __array(values, struct inner); } hash SEC(".maps") = {
    .values = { &green, [2] = &red } };
SEC("syscall") int use(void *ctx)
{
    int one = 1, two = 2; long *v; void *inner = bpf_map_lookup_elem(&array, &one);
    if (!inner || inner != bpf_map_lookup_elem(&hash, &two)) return 1;
    v = bpf_map_lookup_elem(inner, &one);
    if (!v) return 2;
    *v = 11;
    return 0;
}
"""


def value(bpf: DynamicCollection, name: str, size: int = 4, *, skip: int = 0, key: int = 0) -> int:
    """A number in an element of a map, after `skip` bytes."""
    made = bpf.maps[name]
    found = lookup(made.fileno(), key.to_bytes(4, "little"), made.info().value_size)
    assert found is not None
    return int.from_bytes(found[skip : skip + size], "little", signed=True)


def eventually(what: Callable[[], bool]) -> bool:
    """Whether it is so within a second."""
    for _ in range(100):
        if what():
            return True
        time.sleep(0.01)
    return False


def check_lock(bpf: DynamicCollection) -> None:
    run_program(bpf.progs["use"])
    assert value(bpf, "locked", skip=4) == 6


def check_timer(bpf: DynamicCollection) -> None:
    assert eventually(lambda: value(bpf, "timers", skip=16) == 1)


def check_work_queue(bpf: DynamicCollection) -> None:
    assert eventually(lambda: value(bpf, "queues", skip=16) == 1)


def check_kptr(bpf: DynamicCollection) -> None:
    assert value(bpf, "test.bss") == 0
    run_program(bpf.progs["use"])
    assert value(bpf, "test.bss") > 0


def check_list(bpf: DynamicCollection) -> None:
    assert value(bpf, "test.bss") == 42


def check_tree(bpf: DynamicCollection) -> None:
    assert value(bpf, "test.bss") == 3
    # Nothing maps a section without visible variables: they are read.
    assert bpf.data_tree.added == 3
    run_program(bpf.progs["use"])
    assert bpf.data_tree.added == 6
    with pytest.raises(ReadOnly, match=r"all variables of .data.tree are static or hidden"):
        bpf.data_tree.added = 0


def check_bloom(bpf: DynamicCollection) -> None:
    assert bpf.maps["bloom"].info().map_extra == 7
    assert sorted((value(bpf, "test.bss"), value(bpf, "test.bss", skip=4))) == [-2, 0]


def check_mmapable(bpf: DynamicCollection) -> None:
    with mmap.mmap(bpf.maps["shared"].fileno(), mmap.PAGESIZE) as memory:
        assert memory[8] == 8
        memory[8] = 30
        run_program(bpf.progs["use"])
        assert value(bpf, "shared", 8, key=1) == memory[8] == 38


def check_maps_of_maps(bpf: DynamicCollection) -> None:
    assert value(bpf, "red", 8, key=1) == 11 and value(bpf, "green", 8, key=1) == 0


FEATURES = {
    "lock": (LOCK, check_lock),
    "timer": (TIMER, check_timer),
    "work queue": (WORK_QUEUE, check_work_queue),
    "kptr": (KPTR, check_kptr),
    "list": (LIST, check_list),
    "tree": (TREE, check_tree),
    "bloom": (BLOOM, check_bloom),
    "mmapable": (MMAPABLE, check_mmapable),
    "maps of maps": (MAPS_OF_MAPS, check_maps_of_maps),
}
features = pytest.mark.parametrize(("source", "check"), FEATURES.values(), ids=[*FEATURES])


def compiled(source: str) -> bytes:
    """The object of a feature; skips where the kernel does not have what it calls."""
    for kfunc in re.findall(r"(\w+)\([^;]*\) __kfunc;", source):
        if kernel_btf().find_kind(kfunc, Kind.FUNC) is None:
            lacking(f"this kernel has no {kfunc}()")
    return compile_bpf(HEAD + source)


@both
@features
def test_used(load: Load, source: str, check: Callable[[DynamicCollection], None]) -> None:
    with load(lskel.generate(lskel.open_object(compiled(source), name="test"))) as bpf:
        assert run_program(bpf.progs["use"]) == 0
        check(bpf)


# What differs from load to load.
CHANGING = ("id", "btf_id", "pids", "bytes_memlock", "pinned")


def shown(directory: Path, run: Run) -> dict[str, dict[str, Any]]:
    """What bpftool says of the maps that are pinned in `directory`, and of what they hold."""
    maps = {
        path.name: json.loads(run("bpftool", "-j", "map", "show", "pinned", path))
        for path in directory.iterdir()
    }
    names = {facts["id"]: name for name, facts in maps.items()}
    for name, facts in maps.items():
        if facts["type"].endswith("_of_maps"):
            entries = json.loads(run("bpftool", "-j", "map", "dump", "pinned", directory / name))
            facts["holds"] = sorted(
                (entry["key"], names[int.from_bytes(_bytes(entry["value"]), "little")])
                for entry in entries
                if "value" in entry and "error" not in entry["value"]
            )
    return {
        name: {fact: what for fact, what in facts.items() if fact not in CHANGING}
        for name, facts in maps.items()
    }


def _bytes(numbers: list[str]) -> bytes:
    return bytes(int(number, 0) for number in numbers)


@both
@features
def test_as_bpftool_loads_it(
    load: Load,
    source: str,
    check: object,
    bpffs: Path,
    tmp_path: Path,
    run: Run,
    reference: Run,
) -> None:
    path = tmp_path / "test.o"
    path.write_bytes(compiled(source))
    reference("prog", "loadall", path, bpffs / "programs", "pinmaps", bpffs / "theirs")
    with load(lskel.generate(lskel.open_object(path))) as bpf:
        bpf.pin(bpffs / "ours")
    (bpffs / "ours" / "use").unlink()
    theirs = shown(bpffs / "theirs", run)
    assert shown(bpffs / "ours", run) == theirs
    if source == MAPS_OF_MAPS:
        assert [name for _, name in theirs["array"]["holds"]] == ["red", "green"]
        assert [name for _, name in theirs["hash"]["holds"]] == ["green", "red"]
