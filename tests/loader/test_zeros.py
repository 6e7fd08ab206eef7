"""Data sections of many zeros: no loader carries them, and every door has them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lskel
from lskel import budget
from lskel.bpf.enums import Cmd
from lskel.errors import BadBundle, LimitExceeded
from lskel.loader.bundle import dump, load
from lskel.loader.header import parse_header
from lskel.loader.model import Form, Loader
from lskel.replay.compare import differences
from lskel.replay.simulator.run import run as simulate_loader
from lskel.replay.simulator.simulate import simulate
from lskel.skeleton.python import generate_python
from lskel.trace import MapUpdate, Trace
from tests.build.clang import compile_bpf
from tests.conftest import Run
from tests.loads import load_by_loader, load_directly
from tests.skeleton.c.headers import HEADER, Outcome, build, light
from tests.skeleton.c.headers import run as run_program
from tests.skeleton.modules import by_load, by_module

MANY = 80 << 20
SOURCE = """
int first;
char zeros[SIZE];
int last;
SEC("socket") int count(void *ctx) { last += 2; return first + ++zeros[SIZE - 1] + last; }
"""


def large(size: int = MANY, source: str = SOURCE) -> lskel.Object:
    return lskel.open_object(compile_bpf(source.replace("SIZE", str(size))), "large")


def written(trace: Trace) -> list[int]:
    """The sizes of the values that the loader writes."""
    replay = simulate_loader(lskel.generate(trace))
    assert replay.value == 0
    values = [r.attr["value"] for r in replay.records if r.cmd == Cmd.MAP_UPDATE_ELEM]
    return [len(value) for value in values if isinstance(value, bytes)]


@pytest.mark.parametrize("form", Form)
def test_a_bundle_is_small(form: Form) -> None:
    loader = lskel.generate(large(), form)
    assert len(loader.blob) < 8192
    bundle = dump(loader)
    assert len(bundle) < 4096
    assert load(bundle) == loader
    text = generate_python(loader)
    small = generate_python(lskel.generate(large(4), form))
    assert abs(len(text) - len(small)) < 1000
    small_c, large_c = (len(light(large(size), "large")) for size in (4, MANY))
    assert abs(large_c - small_c) < 1000


def test_the_only_difference(tmp_path: Path, reference: Run) -> None:
    """bpftool's loader writes the zeros; all other calls are the same."""
    size = budget.ZEROS + 4
    path = tmp_path / "large.bpf.o"
    path.write_bytes(compile_bpf(SOURCE.replace("SIZE", str(size))))
    header = parse_header(reference("gen", "skeleton", "-L", path, "name", "large"))
    theirs = simulate(header.insns, header.blob, bytes(header.context_size), "little")
    ours = simulate_loader(lskel.generate(lskel.open_object(path)))
    (difference,) = differences(theirs.records, ours.records)
    assert str(difference) == "only in A: 2 BPF_MAP_UPDATE_ELEM map large.bss"


RODATA = """
const volatile char zeros[SIZE] SEC(".rodata");
SEC("socket") int get(void *ctx) { return zeros[7]; }
"""
ATTACHED = SOURCE.replace('"socket"', '"tp_btf/sys_enter"')


def test_what_is_written() -> None:
    """Few zeros; what is frozen; and what programs see at once that the loader attaches."""
    many = budget.ZEROS + 1
    assert written(large(budget.ZEROS - 8).trace()) == [budget.ZEROS]
    assert written(large(many).trace()) == []
    assert written(large(many, RODATA).trace()) == [many]
    other = large(many, SOURCE.replace("int first;", "int first = 1, z[SIZE] = {};"))
    assert written(other.trace()) == [4]
    trace = large(many, ATTACHED).trace(attach=True)
    assert trace.links and not trace.unwritten
    with pytest.raises(LimitExceeded, match="64 MiB"):
        lskel.generate(large(MANY, ATTACHED), attach=True)


def test_values_are_as_long_as_their_maps() -> None:
    trace = large().trace()
    ops = tuple(
        replace(op, size=op.size + 8) if isinstance(op, MapUpdate) else op for op in trace.ops
    )
    with pytest.raises(BadBundle, match="the value is not as long as its map's"):
        dump(lskel.generate(replace(trace, ops=ops)))


DOORS: dict[str, Callable[[Loader], Any]] = {
    "loader": load_by_loader,
    "direct": load_directly,
    "module": by_module,
    "load": by_load,
}


@pytest.mark.kernel
@pytest.mark.parametrize("door", DOORS)
def test_in_python(door: str) -> None:
    loader = lskel.generate(large())
    tracemalloc.start()
    try:
        with DOORS[door](loader) as bpf:
            assert bpf.progs["count"].run(bytes(14)).value == 3
            assert (bpf.bss.last, bpf.bss.first) == (2, 0)
            bpf.bss.first = 100
            assert bpf.progs["count"].run(bytes(14)).value == 106
        assert tracemalloc.get_traced_memory()[1] < MANY // 4
    finally:
        tracemalloc.stop()


@pytest.mark.kernel
@pytest.mark.parametrize("direct", [False, True])
def test_set_before_load(direct: bool) -> None:
    loader = lskel.generate(large())
    with lskel.load(loader, variables={"bss.first": 1000}, direct=direct) as bpf:
        bpf.bss.last = 50
        assert bpf.progs["count"].run(bytes(14)).value == 1000 + 1 + 52


@pytest.mark.kernel
def test_hidden_and_set_before_load() -> None:
    """Nothing maps such a section."""
    source = SOURCE.replace("int ", "static volatile int ", 1)
    source = source.replace("char", "static char").replace("int last", "static int last")
    with lskel.load(large(MANY, source), variables={"bss.first": 1000}) as bpf:
        assert bpf.progs["count"].run(bytes(14)).value == 1003


USER = f"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <linux/bpf.h>
#include "{HEADER}"

static int run(struct large *skel)
{{
    char packet[14] = {{}};
    union bpf_attr attr = {{}};

    attr.test.prog_fd = skel->progs.count.prog_fd;
    attr.test.data_in = (unsigned long)packet;
    attr.test.data_size_in = sizeof(packet);
    return syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr)) ? -1 : (int)attr.test.retval;
}}

int main(void)
{{
    struct large *skel = large__open(), *other = large__open();

    if (!skel || !other)
        return 1;
    skel->bss->first = 300;
    if (large__load(skel))
        return 2;
    printf("%d ", run(skel));
    printf("%d\\n", skel->bss->last);
    /* A map that is there keeps what is in it. */
    other->maps.bss.map_fd = dup(skel->maps.bss.map_fd);
    if (large__load(other))
        return 3;
    printf("%d\\n", run(other));
    large__destroy(other);
    large__destroy(skel);
    return 0;
}}
"""
HEADERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "standalone": {"standalone": True},
    "table": {"standalone": True, "form": "table"},
}


@pytest.mark.kernel
@pytest.mark.parametrize("kind", HEADERS)
def test_in_c(kind: str, tmp_path: Path) -> None:
    header = light(large(), "large", **HEADERS[kind])
    program = build(tmp_path, header, USER)
    assert program.stat().st_size < 1 << 20
    assert run_program(program) == Outcome(0, "303 2\n306\n", "")
