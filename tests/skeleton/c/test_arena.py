"""Arenas: memory that programs and the process of a C skeleton share, at the same addresses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import lskel
from lskel.btf.kinds import Kind
from lskel.errors import UsageError
from tests.build.clang import compile_bpf
from tests.conftest import Run, lacking
from tests.replay.test_arena import ARENA, AT, ULONG
from tests.runtime.programs import kernel_btf
from tests.skeleton.c.headers import HEADER, build, by_bpftool, light, members, problems, run
from tests.skeleton.c.test_runtime import FORMS, LEAKS

pytestmark = pytest.mark.kernel

LIST = (
    ARENA
    + """
extern void __arena *bpf_arena_alloc_pages(void *map, void __arena *address, __u32 pages, int node,
                                           __u64 flags) __attribute__((section(".ksyms")));
struct node { long value; struct node __arena *next; };
struct node __arena * __arena head;
struct node __arena first = { 30 }, __arena second = { 12 };
struct node __arena *__arena pages;
long __arena runs;
int __arena table[4] = {1, 2, 3, 4};
int limit = 3;
SEC("syscall") int push(void *ctx)
{
    runs++;
    table[2] += limit;
    second.next = &first;
    head = &second;
    if (!pages) pages = bpf_arena_alloc_pages(&arena, 0, 2, -1, 0);
    if (!pages) return 1;
    pages->value = head->next->value + 5;
    pages->next = head;
    head = pages;
    return 0;
}
"""
)
USER = f"""
#include <errno.h>
#include <stdio.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "{HEADER}"

__attribute__((unused)) static int call(int prog_fd)
{{
    union bpf_attr attr;

    memset(&attr, 0, sizeof(attr));
    attr.test.prog_fd = prog_fd;
    if (syscall(__NR_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr)))
        return -errno;
    return (int)attr.test.retval;
}}

__attribute__((unused)) static int mappings(void)
{{
    char line[512];
    int found = 0;
    FILE *file = fopen("/proc/self/maps", "r");

    while (file && fgets(line, sizeof(line), file))
        found += strstr(line, "bpf-map") != NULL;
    if (file)
        fclose(file);
    return found;
}}
"""


@pytest.fixture(autouse=True)
def _arenas_are_known() -> None:
    if not kernel_btf().find_kind("bpf_arena_alloc_pages", Kind.FUNC):
        lacking("this kernel has no arenas: they need Linux 6.9")


def obj(source: str = LIST, **defines: object) -> lskel.Object:
    options = [f"-D{name}={value}" for name, value in defines.items()]
    return lskel.open_object(compile_bpf(source, *options), name="shared")


WALK = """
int main(void)
{
    struct shared *skel = shared__open();
    const struct shared__node *at;
    long before;

    if (!skel)
        return 1;
    /* Before loading: the initial values, which can be changed. */
    printf("%ld %d %d\\n", skel->arena->first.value, skel->arena->table[3], skel->data->limit);
    skel->arena->table[2] = 100;
    skel->data->limit = 7;
    if (shared__load(skel))
        return 2;
    printf("%d", call(skel->progs.push.prog_fd));
    printf(" %d\\n", call(skel->progs.push.prog_fd));
    /* Addresses that the program has stored are those of this process. */
    for (at = skel->arena->head; at; at = at->next)
        printf("%ld ", at->value);
    printf("%d\\n", skel->arena->head->next == &skel->arena->second
                   && skel->arena->second.next == &skel->arena->first);
    before = (char *)skel->arena->pages - (char *)skel->arena;
    printf("%d %d %ld %d %d\\n", before > 0 && before % sysconf(_SC_PAGESIZE) == 0,
           skel->maps.arena.initial_value == (unsigned long)skel->arena, skel->arena->runs,
           skel->arena->table[2], mappings());
    /* What is written here is read there. */
    skel->arena->first.value = 1000;
    printf("%d", call(skel->progs.push.prog_fd));
    printf(" %ld\\n", skel->arena->pages->value);
    shared__destroy(skel);
    printf("%d\\n", mappings());
    return 0;
}
"""


@FORMS
@pytest.mark.parametrize("language", ["c", "c++"])
def test_linked_list(tmp_path: Path, standalone: bool, form: str, language: str) -> None:
    header = light(obj(), "shared", standalone=standalone, form=form)
    program = build(tmp_path / "b", header, USER + WALK, LEAKS, language=language)
    walked = "30 4 3\n0 0\n35 12 30 1\n1 1 2 114 2\n0 1005\n0\n"
    assert run(program) == (0, walked, "")


def _variables(header: str) -> list[str]:
    """The names of the variables in the struct for the arena."""
    body = re.search(r"struct shared__arena \{(.*?)\n\t\} \*arena;", header, re.DOTALL)
    assert body
    found = re.findall(r"^\t\t(?:struct )?\w+ \*?(\w+)(?:\[\d+\])?;", body[1], re.MULTILINE)
    # lskel declares a variable twice where its type is one of the source.
    return list(dict.fromkeys(found))


def test_variables_are_those_of_libbpf(tmp_path: Path, reference: Run) -> None:
    """bpftool's light skeleton has no variables of arenas; that of libbpf has."""
    path = tmp_path / "shared.bpf.o"
    path.write_bytes(compile_bpf(LIST))
    theirs = reference("gen", "skeleton", path, "name", "shared")
    assert _variables(light(obj(), "shared")) == _variables(theirs) != []
    plain = "#define LSKEL_USER_TYPES\nstruct node { long value; struct node *next; };\n"
    assert problems(plain + light(obj(), "shared"), "c", "-Wall", "-Werror") == ""


MEMORY = """
int main(void)
{
    struct shared *skel = shared__open_and_load(), *other;
    unsigned char *memory;
    int fd;

    if (!skel)
        return 1;
    memory = (unsigned char *)skel->arena;
    /* The first access allocates the page. */
    printf("%lx %d", (unsigned long)memory, memory[4097]);
    printf(" %d", call(skel->progs.p.prog_fd));
    printf(" %d\\n", memory[4097]);
    memory[4097] = 100;
    printf("%d", call(skel->progs.p.prog_fd));
    printf(" %d\\n", memory[4097]);
    /* Its address is taken. */
    other = shared__open();
    printf("%d", shared__load(other) == -EEXIST);
    printf(" %d\\n", other->maps.arena.map_fd);
    shared__destroy(other);
    /* It is there as long as an fd is: the same again, with the same content. */
    fd = dup(skel->maps.arena.map_fd);
    shared__destroy(skel);
    printf("%d\\n", mappings());
    other = shared__open();
    other->maps.arena.map_fd = fd;
    printf("%d", shared__load(other));
    memory = (unsigned char *)other->arena;
    printf(" %lx %d\\n", (unsigned long)memory, memory[4097]);
    shared__destroy(other);
    printf("%d\\n", mappings());
    return 0;
}
"""
MEMORY_SAID = f"{AT:x} 0 0 1\n0 101\n1 0\n0\n0 {AT:x} 101\n0\n"
PLAIN = (
    ARENA
    + """
SEC("syscall") int p(void *ctx)
{
    char __arena *at = (char __arena *)(4097 + 0ul * (long)&arena);

    asm volatile("" : "+r"(at) : "r"(&arena));
    ++*at;
    return 0;
}
"""
)


@FORMS
def test_arena_at_an_address(tmp_path: Path, standalone: bool, form: str) -> None:
    """Without variables, `arena` is its memory; a reused one is mapped where it says."""
    source = obj(PLAIN, MORE=ULONG.format(hex(AT)))
    # The address sanitizer has its own memory there.
    header = light(source, "shared", standalone=standalone, form=form)
    program = build(tmp_path / "b", header, USER + MEMORY, "-fsanitize=undefined")
    assert run(program) == (0, MEMORY_SAID, "")


def test_members_are_those_of_bpftool(tmp_path: Path) -> None:
    path = tmp_path / "shared.bpf.o"
    path.write_bytes(compile_bpf(PLAIN))
    ours, theirs = members(light(obj(PLAIN), "shared")), members(by_bpftool(path, "shared"))
    assert (ours.maps, ours.progs) == (theirs.maps, theirs.progs)


REUSED = """
int main(void)
{
    struct shared *skel = shared__open_and_load(), *other = shared__open();

    if (!skel || !other)
        return 1;
    other->maps.arena.map_fd = dup(skel->maps.arena.map_fd);
    /* Where it is mapped, the kernel does not say. */
    printf("%d", shared__load(other));
    printf(" %d %d\\n", other->arena == NULL, mappings());
    printf("%d", call(other->progs.push.prog_fd));
    printf(" %ld\\n", skel->arena->runs);
    shared__destroy(other);
    shared__destroy(skel);
    other = shared__open();
    other->maps.arena.max_entries = 3;
    printf("%d", shared__load(other));
    printf(" %d\\n", call(other->progs.push.prog_fd));
    shared__destroy(other);
    return 0;
}
"""


def test_reused_without_an_address(tmp_path: Path) -> None:
    program = build(tmp_path / "b", light(obj(), "shared"), USER + REUSED, LEAKS)
    # The data section of each is mapped, too.
    assert run(program) == (0, "0 1 3\n0 1\n0 0\n", "")


REFUSED = """
int main(void)
{
    struct shared *skel = shared__open();

    skel->maps.arena.max_entries = ENTRIES;
    printf("%s", strerror(-shared__load(skel)));
    printf(" %d %d\\n", skel->maps.arena.map_fd, mappings());
    skel->maps.arena.max_entries = 20;
    printf("%d", shared__load(skel));
    printf(" %d\\n", skel->arena->large[0]);
    shared__destroy(skel);
    return 0;
}
"""


@pytest.mark.parametrize(
    ("entries", "said"), [(1, "Argument list too long"), (1 << 21, "Argument list too long")]
)
def test_sizes_that_are_refused(tmp_path: Path, entries: int, said: str) -> None:
    """E2BIG: of the header where the variables do not fit, of the kernel above 4 GiB."""
    source = obj(LIST + "char __arena large[10000] = {9};")
    program = build(
        tmp_path / "b", light(source, "shared"), USER + REFUSED, LEAKS, f"-DENTRIES={entries}"
    )
    assert run(program) == (0, f"{said} 0 0\n0 9\n", "")


FAILING = """
#include <fcntl.h>
#include <stdlib.h>
static int calls, failing;
static int fails(void) { return ++calls == failing; }
static void *failing_mmap(void *at, size_t size, int prot, int flags, int fd, off_t from)
{
    errno = ENOMEM;
    return fails() ? MAP_FAILED : mmap(at, size, prot, flags, fd, from);
}
static long failing_syscall(long number, int cmd, void *attr, unsigned int size)
{
    if (!fails())
        return syscall(number, cmd, attr, size);
    errno = ENOSPC;
    return -1;
}
#define mmap failing_mmap
#define syscall failing_syscall
"""
ALL_FAIL = """
#undef mmap
#undef syscall
static int fds(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

int main(void)
{
    int before = fds(), wrong = 0, retried = 0;

    for (failing = 1;; failing++) {
        struct shared *skel;

        calls = 0;
        skel = shared__open();
        if (!skel)
            continue;
        if (!shared__load(skel)) {
            shared__destroy(skel);
            if (calls < failing)
                break;
            wrong++;
            continue;
        }
        /* It can be tried again, with the arena of before. */
        retried += !shared__load(skel) && !call(skel->progs.push.prog_fd) && skel->arena->runs == 1;
        shared__destroy(skel);
        wrong += fds() != before || mappings();
    }
    printf("%d %d %d %d\\n", failing - 1, retried, wrong, fds() - before);
    return 0;
}
"""


@FORMS
def test_each_failure(tmp_path: Path, standalone: bool, form: str) -> None:
    header = light(obj(), "shared", standalone=standalone, form=form)
    user = USER.replace(f'#include "{HEADER}"', f'{FAILING}\n#include "{HEADER}"')
    program = build(tmp_path / "b", header, user + ALL_FAIL, LEAKS)
    status, out, err = run(program)
    failures, retried, wrong, left = map(int, out.split())
    assert (status, wrong, left, err) == (0, 0, 0, "")
    # open() maps the values of the data section and of the arena. Once all is loaded and the data
    # section alone is not mapped, it cannot be loaded again.
    expected = {"unrolled": 9, "table": 10}[form]
    assert (failures, retried) == (expected, expected - 3)


def test_memory_that_must_not_be_written() -> None:
    source = obj(FLAGS="(BPF_F_MMAPABLE | 1 << 17)")
    with pytest.raises(UsageError, match=r"shared: map 'arena' has variables, but user space cann"):
        light(source, "shared")
    light(obj(PLAIN, FLAGS="(BPF_F_MMAPABLE | 1 << 17)"), "shared")
