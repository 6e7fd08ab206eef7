"""What the header needs, and that it gives everything back, whatever fails."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import lskel
from tests.build.clang import compile_bpf, example
from tests.conftest import lacking
from tests.skeleton.c.headers import HEADER, STRICT, build, compiler, light, problems, run

pytestmark = pytest.mark.kernel

LEAKS = "-fsanitize=address,undefined"
HEAD = f"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "{HEADER}"
"""
SOURCE = """
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, int); __type(value, long);
         __uint(max_entries, 8); } counts SEC(".maps");
const volatile int divisor = 4;
int hits, table[2000];
char text[8] = "begin";
SEC("raw_tp/sys_enter") int count(void *ctx)
{
    int key = 1;
    long one = 1;
    bpf_map_update_elem(&counts, &key, &one, BPF_ANY);
    table[hits++ & 1023] = divisor;
    return text[0];
}
"""
WHOLE_LIFE = """
static int fds(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

int main(void)
{
    int before = fds();
    struct prog *skel;

    for (int round = 0; round < 3; round++) {
        skel = prog__open_and_load();
        if (!skel || prog__attach(skel) || prog__attach(skel))
            return 1;
        getppid();
        if (!skel->bss->hits || skel->bss->table[0] != 4 || strcmp(skel->data->text, "begin"))
            return 2;
        prog__detach(skel);
        prog__detach(skel);
        prog__destroy(skel);
    }
    skel = prog__open();
    if (!skel)
        return 3;
    prog__destroy(skel);
    printf("%d\\n", fds() - before);
    return 0;
}
"""
FORMS = pytest.mark.parametrize(
    ("standalone", "form"),
    [(False, "unrolled"), (True, "unrolled"), (True, "table")],
    ids=["plain", "standalone", "table"],
)


def obj() -> lskel.Object:
    return lskel.open_object(compile_bpf(SOURCE), name="prog")


@FORMS
@pytest.mark.parametrize("language", ["c", "c++"])
def test_nothing_leaks(tmp_path: Path, standalone: bool, form: str, language: str) -> None:
    header = light(obj(), "prog", standalone=standalone, form=form)
    program = build(tmp_path / "b", header, HEAD + WHOLE_LIFE, LEAKS, language=language)
    assert run(program) == (0, "0\n", "")


def test_valgrind_agrees(tmp_path: Path) -> None:
    if shutil.which("valgrind") is None:
        lacking("valgrind is not installed")
    program = build(tmp_path / "b", light(obj(), "prog", standalone=True), HEAD + WHOLE_LIFE)
    command = ("valgrind", "-q", "--leak-check=full", "--error-exitcode=9", "--track-fds=yes")
    outcome = run(program, prefix=command)
    assert (outcome.status, outcome.out) == (0, "0\n")
    assert "lost" not in outcome.err, outcome.err


# Every call that may fail does so, one after the other.
FAILING = """
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int calls, failing;
static int fails(void) { return ++calls == failing; }
static void *failing_calloc(size_t n, size_t size)
{
    errno = ENOMEM;
    return fails() ? NULL : calloc(n, size);
}
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
#define calloc failing_calloc
#define mmap failing_mmap
#define syscall failing_syscall
#include "skel.h"
#undef calloc
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
    int before = fds(), wrong = 0;

    for (failing = 1;; failing++) {
        struct prog *skel;

        calls = 0;
        errno = 0;
        skel = prog__open_and_load();
        if (skel && !prog__attach(skel)) {
            prog__destroy(skel);
            if (calls >= failing)
                wrong++;
            break;
        }
        wrong += errno != ENOMEM && errno != ENOSPC;
        prog__destroy(skel);
        wrong += fds() != before;
    }
    printf("%d failures, %d wrong\\n", failing - 1, wrong + (fds() != before));
    return 0;
}
"""


@FORMS
def test_each_failure(tmp_path: Path, standalone: bool, form: str) -> None:
    """Memory, mappings and system calls: NULL, errno is kept, and nothing is left open."""
    header = light(obj(), "prog", standalone=standalone, form=form)
    outcome = run(build(tmp_path / "b", header, FAILING, LEAKS))
    # Of libbpf: one allocation, three data maps each mapped twice, four calls, and the link.
    expected = {"unrolled": 12, "table": 13}[form]
    assert outcome == (0, f"{expected} failures, 0 wrong\n", "")


FREEZING = """
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int frozen;
static long freezing_syscall(long number, int cmd, void *attr, unsigned int size)
{
    long result = syscall(number, cmd, attr, size);

    if (cmd == 2 && !result) /* BPF_MAP_UPDATE_ELEM, BPF_MAP_FREEZE */
        frozen += !syscall(number, 22, attr, 4);
    return result;
}
#define syscall freezing_syscall
#include "skel.h"
#undef syscall

int main(void)
{
    struct prog *skel = prog__open_and_load();

    printf("%d %d\\n", frozen, skel != NULL);
    prog__destroy(skel);
    return 0;
}
"""


@pytest.mark.parametrize("form", ["unrolled", "table"])
def test_frozen_blob(tmp_path: Path, form: str) -> None:
    """Newer libbpf freezes a loader's map before it runs; the loader writes to it all the same."""
    header = light(obj(), "prog", standalone=True, form=form)
    assert run(build(tmp_path / "b", header, FREEZING)) == (0, "1 1\n", "")


def test_closed_standard_fds(tmp_path: Path) -> None:
    """0 is no fd to a loader, so none that it makes may be."""
    user = """
int main(void)
{
    struct prog *skel;

    close(0); close(1);
    skel = prog__open_and_load();
    if (!skel)
        return 1;
    dprintf(2, "%d %d", skel->progs.count.prog_fd > 2 && skel->maps.counts.map_fd > 2,
            prog__attach(skel));
    prog__destroy(skel);
    dprintf(2, " %d\\n", dup(2));
    return 0;
}
"""
    for standalone in (False, True):
        header = light(obj(), "prog", standalone=standalone)
        program = build(tmp_path / f"b{standalone}", header, HEAD + user)
        assert run(program).err == "1 0 0\n"


@pytest.mark.parametrize("language", ["c", "c++"])
def test_standalone_needs_the_c_library_only(tmp_path: Path, language: str) -> None:
    """Of the kernel's headers <linux/types.h> alone, so an old <linux/bpf.h> does no harm."""
    header = light(obj(), "prog", standalone=True)
    program = build(tmp_path / "b", header, HEAD + WHOLE_LIFE, language=language)
    command = [compiler(language), "-M", f"-I{tmp_path / 'b'}", "-x", language]
    done = subprocess.run(
        [*command, tmp_path / "b" / HEADER],
        capture_output=True,
        text=True,
        check=True,
    )
    included = done.stdout.replace("\\\n", " ").split()
    assert not [path for path in included if "/bpf/" in path or path.endswith("/bpf.h")]
    assert any(path.endswith("linux/types.h") for path in included)
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    assert "libbpf" not in linked and "libelf" not in linked


def test_cpp_program(tmp_path: Path) -> None:
    """The functions are static members, too."""
    user = """
#include <iostream>
#include "skel.h"

int main()
{
    hello *skel = hello::open();

    if (!skel || hello::load(skel) || hello::attach(skel))
        return 1;
    getppid();
    std::cout << (skel->bss->calls > 0) << ' ' << (skel->links.hello_fd > 2) << std::endl;
    hello::detach(skel);
    hello::destroy(skel);
    skel = hello::open_and_load();
    hello::destroy(skel);
    return !skel;
}
"""
    source = lskel.open_object(example("hello"))
    for standalone in (False, True):
        header = light(source, "hello", standalone=standalone)
        program = build(tmp_path / f"b{standalone}", header, user, LEAKS, language="c++")
        assert run(program) == (0, "1 1\n", "")


def test_large_table_in_plain_header(tmp_path: Path) -> None:
    """An object that is too large for one unrolled program brings its own way to run the other."""
    maps = "\n".join(
        "struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, int); __type(value, int);"
        f'__uint(max_entries, {n + 1}); }} m{n} SEC(".maps");'
        for n in range(70)
    )
    source = maps + 'int x; SEC("socket") int p(void *c) { return x; }'
    header = light(lskel.open_object(compile_bpf(source), name="l"), "large")
    user = """
int main(void)
{
    struct large *skel = large__open_and_load();

    printf("%d\\n", skel && skel->maps.m69.map_fd > 2 && skel->progs.p.prog_fd > 2);
    large__destroy(skel);
    return 0;
}
"""
    assert run(build(tmp_path / "b", header, HEAD + user, LEAKS)) == (0, "1\n", "")


# As much of the kernel's headers as a light skeleton uses.
KERNEL = {
    "fdtable.h": "int close_fd(unsigned int fd);",
    "mm.h": """
#include <stddef.h>
#include <string.h>
void *kvmalloc(size_t size, int flags);
void *kvzalloc(size_t size, int flags);
void kvfree(const void *memory);
""",
    "mman.h": "",
    # Without strncpy(), as Linux 7.3.
    "string.h": """
long strscpy_pad(char *to, const char *from, size_t size);
#define strncpy(to, from, size) strncpy_is_not_here(to, from, size)
""",
    "slab.h": """
#define GFP_KERNEL 1
void *kzalloc(size_t size, int flags);
void kfree(const void *memory);
""",
    "bpf.h": """
#pragma once
#include_next <linux/bpf.h>
#include <stdbool.h>
#include <errno.h>
#define IS_ERR(pointer) ((unsigned long)(pointer) >= -4095UL)
#define PTR_ERR(pointer) ((long)(pointer))
#define container_of(pointer, type, member) \\
    ((type *)((char *)(pointer) - offsetof(type, member)))
#define PROT_READ 1
#define PROT_WRITE 2
#define PAGE_SIZE 4096UL
int num_possible_cpus(void);
struct bpf_map { int map_type; };
struct bpf_array { struct bpf_map map; char value[8]; };
struct bpf_map *bpf_map_get(unsigned int fd);
void bpf_map_put(struct bpf_map *map);
""",
}


def test_kernel_side_compiles(tmp_path: Path) -> None:
    """In a module of the kernel, as the kernel's own light skeletons."""
    (tmp_path / "linux").mkdir()
    for name, text in KERNEL.items():
        (tmp_path / "linux" / name).write_text(text)
    text = light(obj(), "prog")
    flags = (*STRICT, "-D__KERNEL__", f"-I{tmp_path}")
    assert problems(text, "c", *flags) == ""
    assert "this header is for user space" in problems(
        light(obj(), "prog", standalone=True), "c", *flags
    )
