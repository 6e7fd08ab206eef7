"""struct_ops maps of an object, compared with libbpf: bpftool says what it finds, and refuses."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

import lskel
from lskel.bpf.enums import MapType
from lskel.bpf.flags import MapFlag
from lskel.bpf.struct_ops import Member, StructOps
from lskel.btf import types as t
from lskel.errors import BadObject, LskelError, NotFound, NotSupported, UsageError
from lskel.object.model import MapKind
from tests import corpus
from tests.build.clang import compile_bpf
from tests.conftest import lacking

PROGRAMS = """
typedef int (*callback)(void *);
SEC("struct_ops/f") int f(void *c) { return 0; }
SEC("struct_ops.s/g") int g(void *c) { return 1; }
SEC("?struct_ops") int h(void *c) { return 2; }
SEC("xdp") int pass(struct xdp_md *c) { return XDP_PASS; }
__attribute__((noinline)) int helper(void *c) { return 3; }
int number = 1;
"""
SOURCE = (
    PROGRAMS
    + """
struct pair { short a, b; };
struct ops___v2 {
    const callback on_f;
    int (*on_g)(void *);
    int (*on_nothing)(void *);
    unsigned flags;
    char name[16];
    struct pair pair;
    void *owner;
};
SEC("?.struct_ops.link") struct ops___v2 later = { .on_g = g };
SEC(".struct_ops") struct ops___v2 first = { .on_f = f, .flags = 0x01020304, .name = "one" };
SEC(".struct_ops") struct ops___v2 second = { .on_f = f, .on_g = h, .pair = { 5, 6 } };
SEC(".struct_ops.link") struct ops___v2 linked = { .name = "two" };
SEC("?.struct_ops") struct ops___v2 none;
static SEC(".struct_ops") struct ops___v2 hidden = { .on_g = g };
"""
)


@pytest.fixture(params=["little", "big"])
def obj(request: pytest.FixtureRequest) -> lskel.Object:
    return lskel.open_object(compile_bpf(SOURCE, big_endian=request.param == "big"))


def ops_of(obj: lskel.Object, name: str) -> StructOps:
    ops = obj.map(name).struct_ops
    assert ops is not None
    return ops


def test_maps(obj: lskel.Object) -> None:
    maps = [m for m in obj.maps if m.kind is MapKind.STRUCT_OPS]
    assert {m.name: (m.section, m.flags, m.autocreate) for m in maps} == {
        "later": ("?.struct_ops.link", MapFlag.LINK, False),
        "first": (".struct_ops", 0, True),
        "second": (".struct_ops", 0, True),
        "hidden": (".struct_ops", 0, True),
        "linked": (".struct_ops.link", MapFlag.LINK, True),
        "none": ("?.struct_ops", 0, False),
    }
    assert {(m.type, m.key_size, m.value_size, m.max_entries) for m in maps} == {
        (MapType.STRUCT_OPS, 4, 0, 1)
    }
    sections = [name for name, _ in obj.sections]
    assert maps == sorted(maps, key=lambda m: (sections.index(m.section), m.offset))
    assert {m.struct_ops.type for m in maps if m.struct_ops} == {"ops"}
    assert maps[-1] in obj.maps[-6:]  # after the others, as with libbpf


def test_members(obj: lskel.Object) -> None:
    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, obj.order)

    assert ops_of(obj, "first").members == (
        Member("on_f", bytes(8), True, "f"),
        Member("on_g", bytes(8), True, None),
        Member("on_nothing", bytes(8), True, None),
        Member("flags", number(0x01020304, 4), False, None),
        Member("name", b"one".ljust(16, b"\0"), False, None),
        Member("pair", bytes(4), False, None),
        Member("owner", bytes(8), False, None),
    )
    second = ops_of(obj, "second")
    assert [m.program for m in second.members[:3]] == ["f", "h", None]
    assert second.member("pair").value == number(5, 2) + number(6, 2)
    assert ops_of(obj, "later").member("on_g").program == "g"
    assert ops_of(obj, "hidden").member("on_g").program == "g"
    for member in ops_of(obj, "none").members:
        assert not any(member.value) and member.program is None


class Found(NamedTuple):
    """What libbpf says of a struct_ops variable: its struct, offset, and programs by offset."""

    type: str
    offset: int
    programs: dict[int, str]


_INIT = re.compile(r"struct_ops init: struct (\w+)\(type_id=\d+\) (\w+) found at offset (\d+)")
_RELOC = re.compile(r"struct_ops reloc (\w+): .* rel->r_offset (\d+) .*\('(\w+)'\)")


def skeleton(path: Path) -> subprocess.CompletedProcess[str]:
    """What libbpf says while bpftool opens an object."""
    path_variable = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    try:
        return subprocess.run(
            ["bpftool", "--debug", "gen", "skeleton", path, "name", "any"],
            env={**os.environ, "PATH": path_variable},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        lacking("bpftool is not installed")


def libbpf_finds(path: Path) -> dict[str, Found]:
    done = skeleton(path)
    text = done.stdout + done.stderr
    found = {name: Found(type_, int(offset), {}) for type_, name, offset in _INIT.findall(text)}
    for name, offset, program in _RELOC.findall(text):
        found[name].programs[int(offset) - found[name].offset] = program
    return found


def we_find(obj: lskel.Object) -> dict[str, Found]:
    assert obj.btf is not None
    found = {}
    for a_map in obj.maps:
        if a_map.struct_ops is not None:
            struct = obj.btf.get(obj.btf.require(a_map.struct_ops.type, t.StructType), t.StructType)
            pairs = zip(struct.members, a_map.struct_ops.members, strict=True)
            programs = {m.bit_offset // 8: o.program for m, o in pairs if o.program is not None}
            found[a_map.name] = Found(a_map.struct_ops.type, a_map.offset, programs)
    return found


@pytest.mark.corpus
@pytest.mark.usefixtures("corpus_tools")
def test_corpus() -> None:
    compared = 0
    for path in corpus.objects():
        if b".struct_ops" in path.read_bytes():
            ours = we_find(lskel.open_object(path))
            assert ours == libbpf_finds(path), path
            compared += len(ours)
    assert compared >= 8


class Bad(NamedTuple):
    """A source that is refused; `libbpf` says whether libbpf does so, too, on opening it."""

    source: str
    error: type[LskelError]
    says: str
    libbpf: bool = True


OPS = "struct ops { int (*on)(void *); char name[8]; void *data; };"
BAD = {
    "not a function": Bad(
        OPS + 'SEC(".struct_ops") struct ops o = { .data = f };',
        BadObject,
        r"section .struct_ops: map 'o': member 'data': relocation against 'f': the member is not "
        "a function pointer",
    ),
    "no program": Bad(
        OPS + 'SEC(".struct_ops") struct ops o = { .on = helper };',
        BadObject,
        r"map 'o': member 'on': relocation against 'helper': it is not a program \(.*SEC\(",
    ),
    "data": Bad(
        OPS + 'SEC(".struct_ops") struct ops o = { .on = (void *)&number };',
        BadObject,
        "map 'o': member 'on': relocation against 'number': it is not a program",
    ),
    "extern": Bad(
        OPS
        + "extern int elsewhere(void *) __ksym;"
        + 'SEC(".struct_ops") struct ops o = { .on = elsewhere };',
        BadObject,
        "map 'o': member 'on': relocation against 'elsewhere': it is not a program",
    ),
    "another type": Bad(
        OPS + 'SEC(".struct_ops") struct ops o = { .on = (void *)pass };',
        BadObject,
        "relocation against 'pass': a program of section xdp is not a struct_ops program",
    ),
    "nested": Bad(
        "struct ops { struct { long one; int (*on)(void *); } in; };"
        'SEC(".struct_ops") struct ops o = { .in = { .on = f } };',
        BadObject,
        r"section .struct_ops: relocation at 0x8 against 'f': no member at this offset",
    ),
    "an address": Bad(
        OPS + 'SEC(".struct_ops") struct ops o = { .on = (void *)5 };',
        BadObject,
        "map 'o': member 'on': it is an address, expected a program",
        libbpf=False,  # 1.1 stores NULL; newer ones refuse when they load the object
    ),
    "no struct": Bad(
        'SEC(".struct_ops") int o = 1;', BadObject, "map 'o': the variable is not a named struct"
    ),
    "no name": Bad(
        'SEC(".struct_ops") struct { int (*on)(void *); } o = { f };',
        BadObject,
        "map 'o': the variable is not a named struct",
    ),
    "bit field": Bad(
        'struct ops { unsigned a : 3; }; SEC(".struct_ops") struct ops o;',
        NotSupported,
        "section .struct_ops: map 'o': member 'a': bit-fields",
        libbpf=False,  # on loading
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_errors(name: str, tmp_path: Path) -> None:
    bad = BAD[name]
    content = compile_bpf(PROGRAMS + bad.source)
    with pytest.raises(bad.error, match=bad.says):
        lskel.open_object(content)
    path = tmp_path / "bad.o"
    path.write_bytes(content)
    assert (skeleton(path).returncode != 0) is bad.libbpf


def test_needs_btf() -> None:
    source = OPS + 'SEC(".struct_ops") struct ops o;'
    with pytest.raises(BadObject, match=r"section .struct_ops: .* not in BTF \(compile with -g\)"):
        lskel.open_object(compile_bpf(source, "-g0"))


def test_type_said_later() -> None:
    source = OPS + (
        'SEC("mine") int odd(void *c) { return 0; } SEC(".struct_ops") struct ops o = { odd };'
    )
    assert ops_of(lskel.open_object(compile_bpf(source)), "o").member("on").program == "odd"


def test_changes() -> None:
    ops = StructOps(
        "ops", (Member("on", bytes(8), True, "f"), Member("name", b"one\0", False, None))
    )
    assert ops.with_program("on", None).members[0] == Member("on", bytes(8), True, None)
    assert ops.with_program("on", "g").member("on").program == "g"
    assert ops.with_value("name", b"two\0").members == (
        ops.members[0],
        Member("name", b"two\0", False, None),
    )
    with pytest.raises(NotFound, match=r"struct ops has no member 'off' \(available: on, name\)"):
        ops.with_program("off", None)
    with pytest.raises(UsageError, match="member 'on': it is a function pointer"):
        ops.with_value("on", bytes(8))
    with pytest.raises(UsageError, match="member 'name': expected 4 bytes, got 3"):
        ops.with_value("name", b"two")
    with pytest.raises(UsageError, match="member 'name': it is not a function pointer"):
        ops.with_program("name", "f")


def test_change_of_an_object() -> None:
    obj = lskel.open_object(compile_bpf(SOURCE))
    ops = ops_of(obj, "first").with_program("on_f", None)
    changed = obj.with_map("first", struct_ops=ops)
    assert ops_of(changed, "first").member("on_f").program is None
    assert ops_of(obj, "first").member("on_f").program == "f"
