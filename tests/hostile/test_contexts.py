"""Loaders that hand back anything but what they are to make."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

import lskel
from lskel.bpf import context
from lskel.bpf import insn as i
from lskel.bpf.asm import Assembler
from lskel.bpf.enums import Cmd, MapType, ProgType
from lskel.bpf.layouts import MAP_CREATE
from lskel.doctor import bpf_objects
from lskel.errors import BadInput
from lskel.loader.model import Loader
from lskel.replay.options import Options
from lskel.runtime import loader as running
from lskel.runtime.attach.raw_tracepoint import raw_tracepoint_open
from lskel.runtime.loader_fds import LoaderFd, LoaderIds, take_fds
from lskel.runtime.objects import Fd, ObjectKind, identity
from lskel.runtime.syscall import host_attr
from tests.build.clang import compile_bpf
from tests.conftest import open_fds
from tests.loads import load_by_loader
from tests.runtime.programs import create_map, load_program, returns
from tests.skeleton.modules import compiled, skeleton_class

pytestmark = pytest.mark.kernel

INPUTS = Path(__file__).parent / "inputs"
SOURCE = """
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1);
         __type(key, int); __type(value, int); } one SEC(".maps"), two SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *c)
{ int k = 0; return bpf_map_lookup_elem(&one, &k) == bpf_map_lookup_elem(&two, &k); }
"""
MAPS = 2
ONE, TWO, PROGRAM = context.map_fd(0), context.map_fd(1), context.program_fd(MAPS, 0)
LINK = context.link_fd(MAPS, 1, 0, 0)
REFUSED = "the loader does not match its description"
# Where the attr of a map is on the stack.
_ATTR = -48


class NewMap(NamedTuple):
    """A map that the loader makes, and writes its fd into the context."""

    name: bytes
    type: MapType = MapType.ARRAY


Values = Mapping[int, int | NewMap]


def writing(values: Values, *, copied: tuple[int, int] | None = None) -> bytes:
    """A loader that writes `values` into its context, and then copies a word in it."""
    asm = Assembler(sys.byteorder)
    asm.mov(6, 1)
    for offset, value in values.items():
        if isinstance(value, NewMap):
            _create(asm, value)
            asm.store(4, 6, offset, 0)
        else:
            asm.store_imm(4, 6, offset, value)
    if copied is not None:
        asm.load(4, 0, 6, copied[0])
        asm.store(4, 6, copied[1], 0)
    asm.mov_imm(0, 0)
    asm.exit()
    return asm.assemble()


def _create(asm: Assembler, made: NewMap) -> None:
    attr = host_attr(
        MAP_CREATE,
        "map_name",
        map_type=made.type,
        key_size=4,
        value_size=4,
        max_entries=1,
        map_name=made.name,
    )
    for offset in range(0, len(attr), 4):
        word = int.from_bytes(attr[offset : offset + 4], sys.byteorder, signed=True)
        asm.store_imm(4, 10, _ATTR + offset, word)
    asm.mov_imm(1, Cmd.MAP_CREATE)
    asm.mov(2, 10)
    asm.alu_imm(i.ADD, 2, _ATTR)
    asm.mov_imm(3, len(attr))
    asm.call("sys_bpf")


def by_replay(loader: Loader) -> None:
    load_by_loader(loader, Options(trust_bytes=True)).close()


def by_skeleton(loader: Loader) -> None:
    with skeleton_class(loader)() as skel:
        skel.load()


both = pytest.mark.parametrize("run", [by_replay, by_skeleton])
Run = Callable[[Loader], None]


def refused(run: Run, insns: bytes, message: str) -> None:
    """It is an error, and all fds of this process are what they were."""
    loader = replace(compiled(SOURCE), insns=insns, btf=b"", func_info=b"")
    before = open_fds()
    with pytest.raises(BadInput, match=f"^test: {message} .{REFUSED}"):
        run(loader)
    assert open_fds() == before


@both
@pytest.mark.parametrize("value", [0, -1, -(1 << 31)])
def test_no_fd(run: Run, value: int) -> None:
    insns = writing({ONE: NewMap(b"one"), TWO: value})
    refused(run, insns, f"map 'two': the loader returned {value}, which is not an fd")


@both
@pytest.mark.parametrize("value", [1, 2, 99999, (1 << 31) - 1])
def test_fds_of_nothing_of_bpf(run: Run, value: int) -> None:
    """Standard output is open afterwards."""
    insns = writing({ONE: value, TWO: NewMap(b"two")})
    what = f"fd {value}, which is not a map, program or link"
    refused(run, insns, f"map 'one': the loader returned {what}")


def _btf() -> Fd:
    btf = bpf_objects.btf_builder()
    btf.add_int()
    return bpf_objects.load_btf(btf)


@pytest.fixture
def ours() -> Iterator[dict[str, tuple[int, str]]]:
    """Fds of this process, and what is said of them."""
    with ExitStack() as stack:

        def keep(fd: Fd) -> int:
            return stack.enter_context(fd).fileno()

        array = keep(create_map(MapType.ARRAY, 4, 4, 1, name=b"one"))
        program = keep(load_program(ProgType.RAW_TRACEPOINT, returns(0), name=b"p"))
        link = keep(raw_tracepoint_open(program, b"sys_enter\0"))
        file = keep(Fd(os.memfd_create("x", os.MFD_CLOEXEC)))
        types = keep(_btf())
        yield {
            "map": (array, "which existed before: map 'one' of type array"),
            "program": (program, "which existed before: program 'p' of type raw_tracepoint"),
            "link": (link, "which existed before: link of type raw_tracepoint"),
            "file": (file, "which is not a map, program or link"),
            "BTF": (types, "which is not a map, program or link"),
        }


@both
@pytest.mark.parametrize("which", ["map", "program", "link", "file", "BTF"])
def test_fds_that_were_open_before(run: Run, which: str, ours: dict[str, tuple[int, str]]) -> None:
    """Though they be of the right name and type."""
    fd, said = ours[which]
    insns = writing({ONE: fd, TWO: NewMap(b"two")})
    refused(run, insns, f"map 'one': the loader returned fd {fd}, {said}")
    insns = writing({ONE: NewMap(b"one"), TWO: NewMap(b"two"), PROGRAM: fd})
    refused(run, insns, f"program 'p': the loader returned fd {fd}, {said}")


@both
def test_the_same_fd_twice(run: Run) -> None:
    insns = writing({ONE: NewMap(b"one")}, copied=(ONE, TWO))
    refused(run, insns, r"map 'two': the loader returned fd \d+ twice")


@both
@pytest.mark.parametrize(
    ("made", "said"),
    [
        (NewMap(b"two"), "map 'two' of type array"),
        (NewMap(b""), "map of type array"),
        (NewMap(b"one", MapType.HASH), "map 'one' of type hash"),
    ],
)
def test_other_maps_than_those_described(run: Run, made: NewMap, said: str) -> None:
    """The loader made them: they are closed."""
    insns = writing({ONE: made, TWO: NewMap(b"two"), PROGRAM: 0})
    refused(run, insns, rf"map 'one': the loader returned fd \d+, which is {said}")


@both
def test_a_map_in_place_of_a_program(run: Run) -> None:
    insns = writing({ONE: NewMap(b"one"), TWO: NewMap(b"two"), PROGRAM: NewMap(b"p")})
    refused(run, insns, r"program 'p': the loader returned fd \d+, which is map 'p' of type array")


def test_what_is_not_asked_for_is_left_alone() -> None:
    """The slot of a program that is not loaded."""
    loader = compiled(SOURCE)
    insns = writing({ONE: NewMap(b"one"), TWO: NewMap(b"two"), PROGRAM: 1})
    loader = replace(loader, insns=insns, btf=b"", func_info=b"")
    options = Options(autoload={"p": False})
    with load_by_loader(loader, options) as bpf:
        assert [program.name for program in bpf.progs if program.loaded] == []
        assert bpf.maps["two"].info().name == "two"
    os.fstat(1)


@pytest.mark.parametrize("which", ["program", "link", "file", "BTF"])
def test_links(
    which: str, ours: dict[str, tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link is that of the program in the same context."""
    source = SOURCE.replace("raw_tp/sys_enter", "iter/task")
    loader = lskel.generate(lskel.open_object(compile_bpf(source), name="test"), attach=True)
    assert len(loader.trace.links) == 1
    real = running._run_once
    made = Fd(-1)

    def other(program: Fd, ctx: bytearray) -> int:
        nonlocal made
        value = real(program, ctx)
        made = Fd(int.from_bytes(ctx[LINK : LINK + 4], sys.byteorder))
        ctx[LINK : LINK + 4] = ours[which][0].to_bytes(4, sys.byteorder)
        return value

    monkeypatch.setattr(running, "_run_once", other)
    fd, said = ours[which]
    before = open_fds()
    with pytest.raises(BadInput, match=f"^test: link 'p': the loader returned fd {fd}, {said}"):
        load_by_loader(loader)
    made.close()
    assert open_fds() == before


@both
@pytest.mark.parametrize("name", ["neg", "big", "zero"])
def test_bundles(run: Run, name: str) -> None:
    loader = Loader.load(INPUTS / f"{name}.lskel")
    before = open_fds()
    with pytest.raises(BadInput, match=f"^small: map 'm': the loader returned .*{REFUSED}"):
        run(loader)
    assert open_fds() == before


# -- ids -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ahead", "is_new"), [(1, True), (1 << 20, True), (0, False), (-1, False)])
def test_ids_go_round(ahead: int, is_new: bool) -> None:
    """After the last id, 2**31 - 1, comes 1: what was made then is new as well."""
    made = create_map(MapType.ARRAY, 4, 4, 1, name=b"one")
    id_ = identity(made.fileno(), ObjectKind.MAP).id
    ids = LoaderIds(map=(id_ - ahead) % (1 << 31), program=1)
    wanted = [LoaderFd(ObjectKind.MAP, 0, "one", MapType.ARRAY)]
    ctx = bytearray(made.fileno().to_bytes(4, sys.byteorder))
    if is_new:
        (taken,) = take_fds(ctx, wanted, ids)
        assert taken.fileno() == made.fileno()
        taken._fd = -1  # it is `made`'s, too
    else:
        with pytest.raises(BadInput, match="existed before"):
            take_fds(ctx, wanted, ids)
    made.close()
