"""Kernel functions and variables of other types than an object declares: as libbpf treats them."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import lskel
from lskel.loader.bundle import dump
from lskel.loader.model import Loader
from lskel.runtime.objects import obj_get
from lskel.runtime.one_element import lookup
from tests.build.clang import compile_bpf
from tests.conftest import Run
from tests.runtime.programs import run_program
from tests.skeleton.c.headers import HEADER, build, light
from tests.skeleton.c.headers import run as run_c
from tests.skeleton.modules import by_module

pytestmark = pytest.mark.kernel


class Case(NamedTuple):
    """Declarations, and a program's code, which leaves what it found in `out`.

    Or what lskel and libbpf say.
    """

    name: str
    declared: str
    code: str
    out: int = 0
    says: str = ""
    libbpf_says: str = ""


TASK = "struct task_struct { int pid; } __attribute__((preserve_access_index));"
ACQUIRE = "extern struct task_struct *bpf_task_acquire"
FROM_PID = "extern struct task_struct *bpf_task_from_pid"
RELEASE = "extern void bpf_task_release(struct task_struct *task) __ksym;"
FIND = (
    "struct task_struct *task = bpf_task_from_pid({}); if (task) bpf_task_release(task); out = 3;"
)
CASES = [
    Case(
        "same",
        f"{ACQUIRE}(struct task_struct *p) __weak __ksym;",
        "out = bpf_task_acquire ? 1 : 2;",
        1,
    ),
    Case(
        "flavor",
        f"{ACQUIRE}___one(struct task_struct *p) __weak __ksym;",
        "out = bpf_task_acquire___one ? 1 : 2;",
        1,
    ),
    Case(
        "more_parameters",
        f"{ACQUIRE}___two(struct task_struct *p, void *more) __weak __ksym;",
        "if (bpf_task_acquire___two) bpf_task_acquire___two(0, 0); else out = 2;",
        2,
    ),
    Case(
        "another_parameter",
        f"{ACQUIRE}___three(void *p) __weak __ksym;",
        "out = bpf_task_acquire___three ? 1 : 2;",
        2,
    ),
    Case(
        "another_result",
        "extern int bpf_task_acquire___four(struct task_struct *p) __weak __ksym;",
        "out = bpf_task_acquire___four ? 1 : 2;",
        2,
    ),
    # A forward declaration is of another kind than a struct.
    Case(
        "incomplete",
        "struct some; extern struct some *bpf_task_acquire___five(struct some *p) __weak __ksym;",
        "out = bpf_task_acquire___five ? 1 : 2;",
        2,
    ),
    # Names, sizes and signs do not count.
    Case(
        "other_integer", f"{FROM_PID}(const unsigned long n) __ksym; {RELEASE}", FIND.format(1), 3
    ),
    Case(
        "strong",
        f"{FROM_PID}(int a, char **b) __ksym; {RELEASE}",
        FIND.format("1, 0"),
        says="kfunc 'bpf_task_from_pid': declared as `struct task_struct *bpf_task_from_pid(int, "
        "char **)`, in this kernel it is `struct task_struct *bpf_task_from_pid(s32 pid)` (declare "
        "it as this kernel does, or one declaration per kernel, each __weak: "
        "bpf_task_from_pid___old)",
        libbpf_says="extern (func ksym) 'bpf_task_from_pid': func_proto [",
    ),
    Case(
        "strong_incomplete",
        "struct some; extern void bpf_task_release(struct some *p) __ksym;",
        "bpf_task_release(0);",
        says="kfunc 'bpf_task_release': declared as `void bpf_task_release(struct some *)`, in "
        "this kernel it is `void bpf_task_release(struct task_struct *p)` (a struct that is only "
        "declared is of another kind: define it, as `struct NAME {};`)",
        libbpf_says="extern (func ksym) 'bpf_task_release': func_proto [",
    ),
    Case("missing", "extern int bpf_nope(int) __weak __ksym;", "out = bpf_nope ? 1 : 2;", 2),
    # Even a weak variable has to fit.
    Case(
        "variable",
        "struct other { int a; }; extern const struct other bpf_prog_active __weak __ksym;",
        "out = &bpf_prog_active ? 1 : 2;",
        says="kernel variable 'bpf_prog_active': declared as `const struct other bpf_prog_active`, "
        "in this kernel it is `int bpf_prog_active` (declare it as this kernel does)",
        libbpf_says="extern (var ksym) 'bpf_prog_active': incompatible types",
    ),
    Case(
        "missing_variable",
        "struct other { int a; }; extern const struct other bpf_nope __weak __ksym;",
        "out = &bpf_nope ? 1 : 2;",
        2,
    ),
]
each = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def compiled(case: Case) -> bytes:
    code = f'int out; SEC("syscall") int run(void *ctx) {{ {case.code} return 0; }}'
    return compile_bpf(TASK + case.declared + code)


def loader_of(case: Case, form: str = "table") -> Loader:
    return lskel.generate(lskel.open_object(compiled(case), name="test"), form)


@each
def test_what_libbpf_does(case: Case, tmp_path: Path, bpffs: Path, reference: Run) -> None:
    """The reference for the cases."""
    path = tmp_path / "x.o"
    path.write_bytes(compiled(case))
    words = ("prog", "loadall", path, bpffs / "programs", "pinmaps", bpffs / "maps")
    if case.libbpf_says:
        with pytest.raises(subprocess.CalledProcessError) as caught:
            reference(*words)
        assert case.libbpf_says in caught.value.stderr
        return
    reference(*words)
    with obj_get(bpffs / "programs" / "run") as program:
        assert run_program(program) == 0
    with obj_get(bpffs / "maps" / "x_bss") as values:
        found = lookup(values.fileno(), bytes(4), 4)
    assert found == case.out.to_bytes(4, sys.byteorder)


DOORS: dict[str, Callable[[Case], Any]] = {
    "table": lambda case: lskel.load(loader_of(case, "table")),
    "unrolled": lambda case: lskel.load(loader_of(case, "unrolled")),
    "direct": lambda case: lskel.load(loader_of(case), direct=True),
    "bundle": lambda case: lskel.load(dump(loader_of(case))),
    "module": lambda case: by_module(loader_of(case)),
    "embedding module": lambda case: by_module(loader_of(case), embed=True),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
@each
def test_as_libbpf(case: Case, door: Callable[[Case], Any]) -> None:
    with door(case) as bpf:
        if case.says:
            # A module that embeds the runtime has error classes of its own.
            with pytest.raises(Exception, match="declared as") as caught:
                bpf.load()
            assert type(caught.value).__name__ == "NotSupported"
            assert str(caught.value) == f"test: {case.says}"
            return
        bpf.load()
        bpf.progs.run.run(ctx=b"")
        assert bpf.bss.out == case.out


PROGRAM = f"""
#include <stdio.h>
#include <stdlib.h>
#include "{HEADER}"

int main(void)
{{
    struct test *skel = test__open_and_load();
    struct bpf_run {{ __u32 prog_fd, retval, data[8], ctx_size, pad[7]; }} attr;

    if (!skel) {{
        printf("errno %d", errno);
        return 1;
    }}
    memset(&attr, 0, sizeof(attr));
    attr.prog_fd = skel->progs.run.prog_fd;
    if (syscall(__NR_bpf, 10 /* BPF_PROG_RUN */, &attr, sizeof(attr)))
        return 2;
    printf("%d", skel->bss->out);
    test__destroy(skel);
    return 0;
}}
"""


@pytest.mark.parametrize("kind", ["plain", "table", "standalone"])
@each
def test_c_skeletons_too(case: Case, kind: str, tmp_path: Path) -> None:
    opened = lskel.open_object(compiled(case), name="test")
    form = "table" if kind == "table" else ""
    header = light(opened, "test", standalone=kind == "standalone", form=form)
    flags = () if kind == "standalone" else ("-include", "sys/mman.h")
    done = run_c(build(tmp_path / "program", header, PROGRAM, *flags))
    if case.says:
        assert done == (1, f"errno {errno.ENOTSUP}", "")
    else:
        assert done == (0, str(case.out), "")


def test_only_of_programs_that_are_loaded() -> None:
    """An older kernel's program, say; libbpf compares the externs of all of them."""
    strong = next(case for case in CASES if case.name == "strong")
    for direct in (False, True):
        with lskel.load(loader_of(strong), autoload={"run": False}, direct=direct) as bpf:
            bpf.load()
