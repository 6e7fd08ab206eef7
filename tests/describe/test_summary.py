"""Summaries against readelf, bpftool and the kernel's header; objects against their bundles."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lskel.bpf.enums import MapType
from lskel.bpf.struct_ops import Member, StructOps
from lskel.describe.flags import MAP_FLAGS, map_flags
from lskel.describe.summary import (
    ExternSummary,
    MapSummary,
    MemberSummary,
    ProgramSummary,
    SectionSummary,
    SlotSummary,
    StructOpsSummary,
    summarize,
)
from lskel.describe.variables import GlobalVariable
from lskel.errors import BadObject
from lskel.loader.bundle import dump
from lskel.loader.generate import generate
from lskel.loader.model import Loader
from lskel.object.model import MapKind, MapSpec, Slot
from lskel.object.open import open_object
from lskel.object.sections import parse_section
from lskel.trace import BtfLoad
from tests.build.clang import compile_bpf
from tests.build.elf import one_program
from tests.conftest import Run, lacking
from tests.describe.samples import ASKING, EXAMPLE_OBJECTS, LOADABLE, asking, loadable, unloadable

HEADER = Path("/usr/include/linux/bpf.h")


@pytest.mark.parametrize("path", EXAMPLE_OBJECTS, ids=lambda path: path.name)
def test_sections_are_those_of_readelf(path: Path, run: Run) -> None:
    row = re.compile(r"\s+\[ *\d+\] (\S+) +[A-Z]\S* +[0-9a-f]{16} [0-9a-f]+ ([0-9a-f]+) ")
    found = (row.match(line) for line in run("readelf", "-SW", path).splitlines())
    expected = tuple(SectionSummary(match[1], int(match[2], 16)) for match in found if match)
    assert len(expected) > 10
    assert summarize(open_object(path)).sections == expected


@pytest.mark.parametrize("path", EXAMPLE_OBJECTS, ids=lambda path: path.name)
def test_btf_is_that_of_bpftool(path: Path, run: Run) -> None:
    summary = summarize(open_object(path))
    types = re.findall(r"^\[\d+\]", run("bpftool", "btf", "dump", "file", path), re.MULTILINE)
    size = dict(summary.sections)[".BTF"]
    assert summary.btf is not None
    assert summary.btf[:2] == (size, len(types))


@pytest.mark.parametrize("path", EXAMPLE_OBJECTS, ids=lambda path: path.name)
def test_bundle_says_the_same_as_its_object(path: Path) -> None:
    same(path.read_bytes(), path.name.split(".")[0])


@pytest.mark.parametrize("source", [LOADABLE, ASKING], ids=["loadable", "asking"])
def test_bundle_of_a_sample_says_the_same(source: str) -> None:
    same(compile_bpf(source), "sample")


def same(data: bytes, name: str) -> None:
    obj = open_object(data, name)
    ours = summarize(obj)
    loader = Loader.load(dump(generate(obj)))
    theirs = summarize(loader)
    assert theirs.loader is not None and ours.loader is None
    assert theirs.sections == ()
    assert (theirs.name, theirs.order, theirs.license, theirs.btf) == (
        ours.name,
        ours.order,
        ours.license,
        ours.btf,
    )
    assert (theirs.inputs, theirs.struct_ops) == (ours.inputs, ours.struct_ops)
    # What is not sent to the kernel is not in a bundle: types of map-in-maps and the like.
    for mine, its in zip(ours.maps, theirs.maps, strict=True):
        assert its._replace(key_type=its.key_type or mine.key_type) == mine
    for program, loaded in zip(ours.programs, theirs.programs, strict=True):
        assert loaded == program or (bool(program.problem) and loaded.insns is None)
    assert set(theirs.externs) == {looked_for(extern) for extern in ours.externs}
    assert sum(theirs.loader.contents.values()) == len(loader.blob)
    assert sum(theirs.loader.ops.values()) == len(loader.trace.ops)
    assert theirs.loader.insns * 8 == len(loader.insns)


def looked_for(extern: ExternSummary) -> ExternSummary:
    """Without what only the declaration says."""
    name, is_flavored, _ = extern.name.partition("___")
    return extern._replace(name=name, type="" if is_flavored else extern.type)


def test_maps() -> None:
    maps = {a_map.name: a_map for a_map in summarize(loadable()).maps}
    template = MapSummary(
        name="first",
        kernel_name="first",
        section=".maps",
        type="hash",
        key_size=4,
        value_size=8,
        max_entries=8,
        flags=(),
        key_type="int",
        value_type="struct inner_s",
        numa_node=0,
        map_extra=0,
        pinning="none",
        initial_size=None,
        frozen=False,
        inner=None,
        slots=(),
        variables=(),
        autocreate=True,
        struct_ops=None,
        exclusive="",
    )
    assert maps["first"] == template
    inner = template._replace(name="outer.inner", kernel_name="outer.inner", section="", pinning="")
    assert maps["outer"].inner == inner
    assert maps["outer"].slots == (SlotSummary(1, "first"),)
    odd = maps["name_of_more_than_15"]
    assert odd.kernel_name == "name_of_more_th"
    assert odd.flags == ("no_prealloc", "0x10000000")
    assert odd.pinning == "by_name"
    rodata = maps["sample.rodata"]
    assert (rodata.initial_size, rodata.frozen) == (8, True)
    assert rodata.flags == ("rdonly_prog", "mmapable")
    assert rodata.variables == (GlobalVariable("limits", "const volatile int[2]", 0, 8),)
    assert (maps["sample.data"].initial_size, maps["sample.data"].frozen) == (4, False)
    assert [variable.name for variable in maps["sample.bss"].variables] == ["one", "two"]


def test_programs(run: Run, tmp_path: Path) -> None:
    main, optional = summarize(loadable()).programs
    assert main._replace(insns=0, line_info=0) == ProgramSummary(
        name="main_program",
        section="raw_tp/sys_enter",
        kind="raw_tp",
        type="raw_tracepoint",
        attach_type="",
        target="sys_enter",
        sleepable=False,
        autoload=True,
        insns=0,
        subprograms=("add", "visit"),
        func_info=3,
        line_info=0,
        core_relos=5,
        problem="",
    )
    assert (optional.kind, optional.target) == ("fentry.s", "do_unlinkat")
    assert (optional.type, optional.attach_type) == ("tracing", "trace_fentry")
    assert (optional.sleepable, optional.autoload, optional.insns) == (True, False, 4)
    path = tmp_path / "sample.o"
    path.write_bytes(compile_bpf(LOADABLE))
    sizes = [
        int(line.split()[2])
        for line in run("readelf", "-sW", path).splitlines()
        if " FUNC " in line
    ]
    assert main.insns is not None
    assert (main.insns + 4) * 8 == sum(sizes)


def test_externs() -> None:
    used = ("kfuncs",), ("variables",)
    type_ = "struct task *(struct task *)"
    assert set(summarize(asking()).externs) == {
        ExternSummary("bpf_task_acquire", "kfunc", type_, False, False, used[0]),
        ExternSummary(
            "bpf_task_release___v2", "kfunc", "void (struct task *)", True, False, used[0]
        ),
        ExternSummary("runqueues", "ksym", "", False, False, used[1]),
        ExternSummary("bpf_test_modules", "ksym", "", True, False, used[1]),
        ExternSummary("bpf_prog_active", "ksym", "", False, True, used[1]),
        ExternSummary("CONFIG_HZ", "kconfig", "int", False, False, ()),
        ExternSummary("CONFIG_IPV6", "kconfig", "enum libbpf_tristate", True, False, ()),
    }


def test_externs_are_those_of_readelf(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "asking.o"
    path.write_bytes(compile_bpf(ASKING))
    rows = re.findall(r"NOTYPE +(\w+) +DEFAULT +UND (\w+)", run("readelf", "-sW", path))
    assert len(rows) == 7
    assert {(extern.name, extern.weak) for extern in summarize(open_object(path)).externs} == {
        (name, bind == "WEAK") for bind, name in rows
    }


def test_what_the_target_is_asked_for() -> None:
    summary = summarize(asking())
    another = "whether the kernel has another type than: "
    assert summary.inputs == (
        f"{another}struct task *bpf_task_acquire(struct task *)",
        f"{another}void bpf_task_release___v2(struct task *)",
        f"{another}const int bpf_test_modules",
        f"{another}const struct rq runqueues",
        "BTF id of the attach target of program 'replacing'",
        "fd of the attach target of program 'replacing'",
    )
    assert summary.btf is not None and summary.btf.needed_by == "program 'replacing' (freplace)"
    maps = {a_map.name: a_map for a_map in summary.maps}
    assert maps["shared"].pinning == "by_name"
    assert (maps["arena"].type, maps["arena"].initial_size) == ("arena", 4)
    assert maps["programs"].slots == (SlotSummary(1, "kfuncs"),)
    assert [program.name for program in summary.programs if not program.autoload] == [
        "variables",
        "unknown",
    ]
    assert [extern.name for extern in summary.externs if extern.weak] == [
        "bpf_task_release___v2",
        "CONFIG_IPV6",
        "bpf_test_modules",
    ]


@pytest.mark.parametrize("autocreate", [True, False])
def test_struct_ops(autocreate: bool) -> None:
    member = Member("func", bytes(8), True, "kfuncs")
    ops = StructOps("tcp_ops", (member, Member("other", bytes(8), True, None)))
    made = MapSpec("ops", MapKind.STRUCT_OPS, ".struct_ops", 0, MapType.STRUCT_OPS, 4, 0, 1)
    made = replace(made, struct_ops=ops, autocreate=autocreate)
    obj = asking()
    programs = tuple(
        replace(program, spec=parse_section("struct_ops")) if program.name == "kfuncs" else program
        for program in obj.programs
    )
    obj = replace(obj, maps=(*obj.maps, made), programs=programs)
    summary = summarize(obj)
    assert summary.struct_ops == ("ops",)
    assert summary.maps[-1].struct_ops == StructOpsSummary(
        "tcp_ops", (MemberSummary("func", "kfuncs"), MemberSummary("other", ""))
    )
    assert (summary.maps[-1].value_size, summary.maps[-1].autocreate) == (0, autocreate)
    bundle = summarize(Loader.load(dump(generate(obj))))
    assert bundle.struct_ops == (("ops",) if autocreate else ())
    assert bundle.maps == summary.maps[: len(bundle.maps)]
    if autocreate:
        assert bundle.inputs[:2] == (
            "size of struct bpf_struct_ops_tcp_ops",
            "index of member func in struct tcp_ops",
        )
        assert bundle.programs[0].attach_type == ""


def test_each_program_says_why_it_cannot_be_loaded() -> None:
    summary = summarize(unloadable())
    programs = {program.name: program for program in summary.programs}
    assert summary.problem == ""
    assert "'no such section' has no known program type" in programs["unknown"].problem
    assert programs["unknown"].type == "unspec"
    assert programs["harmless"].problem == ""
    assert all(program.insns for program in summary.programs)


def test_what_no_program_can_help() -> None:
    obj = asking().with_map("programs", slots=(Slot(0, "nobody"),))
    summary = summarize(obj)
    assert "map 'programs': slot 0: 'nobody' is not a program" in summary.problem
    assert [bool(program.problem) for program in summary.programs] == [False, False, False, True]


def test_no_btf() -> None:
    summary = summarize(open_object(bytes(one_program())))
    assert summary.btf is None
    assert [(program.name, program.insns) for program in summary.programs] == [("prog", 2)]


def test_broken_btf_in_a_loader() -> None:
    loader = generate(open_object(EXAMPLE_OBJECTS[0]))
    ops = tuple(
        replace(op, data=b"\x9f\xeb") if isinstance(op, BtfLoad) else op for op in loader.trace.ops
    )
    with pytest.raises(BadObject, match="BTF: 2 bytes are too short"):
        summarize(replace(loader, trace=replace(loader.trace, ops=ops)))


def test_flags_are_those_of_the_kernel() -> None:
    if not HEADER.exists():
        lacking(f"there is no {HEADER}")
    text = HEADER.read_text()
    section = text[text.index("flags for BPF_MAP_CREATE") : text.index("Flags for BPF_PROG_QUERY")]
    known = re.findall(r"BPF_F_(\w+)\s*=\s*\(1U << (\d+)\)", section)
    assert len(known) >= 13
    assert [MAP_FLAGS[1 << int(bit)] for _, bit in known] == [name.lower() for name, _ in known]


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (0, ()),
        (1 << 10 | 1, ("no_prealloc", "mmapable")),
        (1 << 31, ("0x80000000",)),
        (1 << 31 | 2, ("no_common_lru", "0x80000000")),
    ],
)
def test_flags(flags: int, names: tuple[str, ...]) -> None:
    assert map_flags(flags) == names
