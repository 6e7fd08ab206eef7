"""The operations of hand-made objects: their order, their guards, and what is closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from lskel import budget
from lskel.bpf import insn as i
from lskel.bpf.enums import AttachType, MapType, ProgType
from lskel.bpf.flags import MapFlag, ProgFlag
from lskel.bpf.insn import CallKind, Insn, Pseudo
from lskel.bpf.kconfig import KconfigType, KconfigVar
from lskel.bpf.struct_ops import Member, StructOps
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.types import VOID, IntEncoding
from lskel.cursor import ByteOrder
from lskel.errors import BadObject, LimitExceeded, NotSupported, UsageError
from lskel.object.model import Extern, ExternKind, MapKind, MapSpec, Object, Pinning, Slot
from lskel.trace import (
    MAKES,
    Arena,
    AttachBtfId,
    AttachFd,
    BtfFind,
    BtfLoad,
    Close,
    ExternReloc,
    Input,
    KconfigResult,
    KsymFind,
    LinkCreate,
    LinkResult,
    MapCreate,
    MapFreeze,
    MapUpdate,
    MemberIndex,
    Op,
    ProgLoad,
    ProgramResult,
    RawTracepointOpen,
    Ref,
    StructOpsResult,
    Trace,
    TypeSize,
    references,
)
from tests.btf.samples import ORDERS
from tests.build.btf import LAYOUT, BtfBuilder
from tests.load_phase.build import (
    EXIT,
    ObjectBuilder,
    call,
    call_extern,
    insns_of,
    load_extern,
    load_map,
    near_call,
    number,
    records,
)


def trace_of(obj: Object | ObjectBuilder, *, attach: bool = False) -> Trace:
    """The trace, after what is true of any."""
    trace = (obj.object() if isinstance(obj, ObjectBuilder) else obj).trace(attach=attach)
    open_: set[int] = set()
    for at, op in enumerate(trace.ops):
        for reference in references(op):
            made_by = reference.ref.op
            assert made_by < at and type(trace.ops[made_by]) in reference.takes.of
            is_number = isinstance(trace.ops[made_by], KsymFind)
            assert is_number or made_by in open_, f"op {at} takes what is closed"
        if isinstance(op, Close):
            open_.remove(op.ref.op)
            assert trace.guards.get(at) == trace.guards.get(op.ref.op)
        elif MAKES[type(op)] not in ("", "address"):
            open_.add(at)
    programs = {program.op for program in trace.programs if program.op is not None}
    stay = {*(a_map.op for a_map in trace.maps), *programs, *(link.op for link in trace.links)}
    assert open_ == stay
    return trace


def _said(op: Op) -> str:
    match op:
        case BtfLoad():
            return "btf"
        case MapCreate():
            inner = f" of #{op.inner.op}" if op.inner else ""
            kernel_type = f" by #{op.kernel_value_type.op}" if op.kernel_value_type else ""
            return f"create {op.name}{inner}{kernel_type}"
        case MapUpdate():
            content = op.value.hex() if isinstance(op.value, bytes) else f"#{op.value.op}"
            value = f"{content or 'zeros'}, {op.size} bytes" if op.initial else content
            return f"{'initial' if op.initial else 'update'} #{op.map.op} [{op.key}] {value}"
        case MapFreeze():
            return f"freeze #{op.map.op}"
        case BtfFind():
            return f"find {op.kind.name} {op.name}{' weak' if op.is_weak else ''}"
        case KsymFind():
            return f"ksym {op.name}{' weak' if op.is_weak else ''}"
        case ProgLoad():
            return f"load {op.name}{f' for #{op.attach_btf.op}' if op.attach_btf else ''}"
        case RawTracepointOpen():
            return f"open #{op.program.op}"
        case LinkCreate():
            return f"link #{op.program.op} {AttachType(op.attach_type).name}"
        case Close():
            return f"close #{op.ref.op}"


def told(trace: Trace) -> list[str]:
    """Each operation in a few words, with its guard; #N is what operation N made."""

    def lines() -> Iterator[str]:
        for at, op in enumerate(trace.ops):
            guard = trace.guards.get(at)
            yield _said(op) + (f" | {guard.subject.value} {guard.slot}" if guard else "")

    return list(lines())


def load_of(trace: Trace, slot: int = 0) -> ProgLoad:
    op = trace.prog_load(slot)
    assert op is not None
    return op


def typed() -> tuple[BtfBuilder, dict[str, int]]:
    """BTF, and what is in it by name."""
    btf = BtfBuilder()
    u32 = btf.add_int("unsigned int", 4)
    u64 = btf.add_int("unsigned long", 8, IntEncoding.SIGNED)
    lock = btf.add_struct("bpf_spin_lock", 4, [("val", u32, 0)])
    locked = btf.add_struct("locked", 4, [("lock", lock, 0)])
    return btf, {"u32": u32, "u64": u64, "locked": locked}


# -- the whole ------------------------------------------------------------------------------------


def test_nothing() -> None:
    trace = trace_of(ObjectBuilder("big"))
    assert (trace.name, trace.order) == ("made", "big")
    assert (trace.ops, trace.maps, trace.programs) == ((), (), ())
    assert (trace.guards, trace.inputs, trace.links, trace.arenas) == ({}, (), (), ())
    assert (trace.kconfig, trace.struct_ops) == (None, ())


def test_order_of_all() -> None:
    """BTF, maps with their values, programs, prog arrays, links; BTF is closed at the end."""
    build = ObjectBuilder(btf=typed()[0].btf())
    build.map("calls", MapType.PROG_ARRAY, slots=(Slot(2, "second"),))
    build.data(".rodata", MapKind.RODATA, b"\1\2")
    build.program("first", "iter/task")
    build.program("second", "xdp")
    assert told(trace_of(build, attach=True)) == [
        "btf",
        "create calls | map 0",
        "create .rodata | map 1",
        "initial #2 [0] 0102, 2 bytes | map 1",
        "freeze #2 | map 1",
        "find FUNC bpf_iter_task | program 0",
        "load first for #5 | program 0",
        "close #5 | program 0",
        "load second | program 1",
        "update #1 [2] #8 | program 1",
        "link #6 TRACE_ITER | program 0",
        "close #0",
    ]


def test_more_operations_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    build = ObjectBuilder()
    build.map("one")
    build.map("two")
    monkeypatch.setattr(budget, "OPERATIONS", 2)
    assert len(trace_of(build).ops) == 2
    build.program("third", "xdp")
    with pytest.raises(LimitExceeded, match="3 operations, at most 2"):
        build.object().trace()


# -- BTF ------------------------------------------------------------------------------------------


def test_btf_is_given_to_the_kernel_as_it_takes_it() -> None:
    btf, _ = typed()
    btf.add_datasec("?.struct_ops", 0)
    btf.add_datasec("?.struct_ops.link", 0)
    btf.add_datasec("?own", 0)
    btf.add_typedef("?.struct_ops", 1)  # of no DATASEC
    op = trace_of(ObjectBuilder(btf=btf.btf())).ops[0]
    assert isinstance(op, BtfLoad)
    assert op.needed_by == ""
    loaded = Btf(op.data)
    assert [found for _, found in loaded] == [
        replace(found, name=found.name.replace("?", "_")) if isinstance(found, t.Datasec) else found
        for _, found in btf.btf()
    ]
    assert {found.name for _, found in loaded if isinstance(found, t.Datasec)} >= {
        *("_.struct_ops", "_.struct_ops.link", "_own")
    }


@pytest.mark.parametrize("order", ORDERS)
def test_a_layout_is_dropped_unless_types_need_it(order: ByteOrder) -> None:
    """Kernels before 7.3 refuse layouts; those that know newer kinds know layouts, too."""

    def loaded(btf: BtfBuilder) -> tuple[Btf, Btf]:
        opened = Btf(btf.bytes(order))
        op = trace_of(ObjectBuilder(btf=opened, order=order)).ops[0]
        assert isinstance(op, BtfLoad)
        return opened, Btf(op.data)

    btf, _ = typed()
    plain = btf.bytes(order)
    btf.layout = LAYOUT
    opened, given = loaded(btf)
    assert opened.layout and not given.layout
    assert list(given) == list(opened) == list(Btf(plain))
    # Only the header is longer, by zeros.
    assert given.raw[24:32] == bytes(8)
    assert given.raw[32:] == plain[24:]
    btf.add(21, "newer", vlen=2, size=7, words=[1, 2, 3, 4, 5])
    btf.layout = LAYOUT | {21: (4, 8)}
    opened, given = loaded(btf)
    assert given.raw == opened.raw


def test_what_btf_is_needed_by() -> None:
    btf, ids = typed()
    core = records("little", (0, 1), size=16)
    build = ObjectBuilder(btf=btf.btf())
    build.map("plain", key_type=ids["u32"], value_type=ids["u32"])
    build.map("locks", key_type=ids["u32"], value_type=ids["locked"])
    build.program("relocated", "xdp", core_relos=core)
    build.program("replaces", "freplace/f")
    obj = build.object()

    def needed() -> str:
        op = trace_of(obj).ops[0]
        assert isinstance(op, BtfLoad)
        return op.needed_by

    assert needed() == "program 'replaces' (freplace)"
    obj = obj.with_program("replaces", autoload=False)
    assert needed() == "function 'relocated' (CO-RE relocations)"
    obj = obj.with_program("relocated", autoload=False)
    assert needed() == "map 'locks'"
    obj = obj.with_map("locks", autocreate=False)
    assert needed() == ""


# -- maps -----------------------------------------------------------------------------------------


def test_what_a_map_says_of_itself() -> None:
    build = ObjectBuilder()
    build.map(
        "m",
        MapType.HASH,
        key_size=2,
        value_size=6,
        max_entries=10,
        flags=MapFlag.NO_PREALLOC,
        numa_node=3,
        map_extra=1 << 40,
    )
    assert trace_of(build).map_create(0) == MapCreate(
        name="m",
        type=MapType.HASH,
        key_size=2,
        value_size=6,
        max_entries=10,
        flags=MapFlag.NO_PREALLOC,
        numa_node=3,
        map_extra=1 << 40,
        btf=None,
        key_type=0,
        value_type=0,
        btf_is_optional=False,
        kernel_value_type=None,
        inner=None,
        slot=0,
    )


BTF, TYPES = typed()


@pytest.mark.parametrize(
    ("type_", "key", "value", "expected"),
    [
        (MapType.HASH, "u32", "u64", ("u32", "u64", False)),
        (MapType.HASH, "", "u64", ("", "u64", False)),
        # A key alone is nothing that the kernel takes.
        (MapType.HASH, "u32", "", ("", "", False)),
        # The kernel may refuse these types, but takes the map without.
        (MapType.ARRAY, "u64", "u64", ("u64", "u64", True)),
        (MapType.LPM_TRIE, "u32", "u64", ("u32", "u64", True)),
        (MapType.ARRAY, "u32", "u64", ("u32", "u64", False)),
        # With such a field in its value it does not.
        (MapType.ARRAY, "u64", "locked", ("u64", "locked", False)),
        (MapType.SK_STORAGE, "u32", "u64", ("u32", "u64", False)),
        # The kernel takes no types for these.
        (MapType.PERF_EVENT_ARRAY, "u32", "u32", ("", "", False)),
        (MapType.QUEUE, "", "u64", ("", "", False)),
        (MapType.RINGBUF, "u32", "u32", ("", "", False)),
        (9999, "u32", "u32", ("u32", "u32", True)),
    ],
)
def test_types_of_keys_and_values(
    type_: int, key: str, value: str, expected: tuple[str, str, bool]
) -> None:
    ids = TYPES | {"": VOID}
    fields = {"key_type": ids[key], "value_type": ids[value]}
    build = ObjectBuilder(btf=BTF.btf())
    build.map("m", type_, **fields)
    op = trace_of(build).map_create(0)
    want_key, want_value, is_optional = expected
    assert (op.key_type, op.value_type) == (ids[want_key], ids[want_value])
    assert op.btf_is_optional is is_optional
    assert op.btf == (Ref(0) if want_value else None)

    without = ObjectBuilder()
    without.map("m", type_, **fields)
    op = trace_of(without).map_create(0)
    assert (op.btf, op.key_type, op.value_type, op.btf_is_optional) == (None, 0, 0, False)


def test_values_of_global_data() -> None:
    """Written at once; those that programs only read are frozen."""
    build = ObjectBuilder()
    build.data(".data", MapKind.DATA, b"\1\2\3")
    build.data(".bss", MapKind.BSS, bytes(2))
    build.data(".rodata", MapKind.RODATA, b"\4")
    build.map("user", initial=None)
    build.data(".rodata.empty", MapKind.RODATA, None)
    trace = trace_of(build)
    assert told(trace) == [
        "create .data | map 0",
        "initial #0 [0] 010203, 3 bytes | map 0",
        "create .bss | map 1",
        "initial #2 [0] zeros, 2 bytes | map 1",
        "create .rodata | map 2",
        "initial #4 [0] 04, 1 bytes | map 2",
        "freeze #4 | map 2",
        "create user | map 3",
        "create .rodata.empty | map 4",
    ]
    assert [trace.initial_value(slot) for slot in range(5)] == [1, 3, 5, None, None]
    update = trace.ops[1]
    assert isinstance(update, MapUpdate) and update.size == 3


def test_maps_that_are_not_created() -> None:
    """Slots count those that are."""
    build = ObjectBuilder()
    build.map("first", autocreate=False)
    build.map("second", section=".maps.other")
    build.data(".data", MapKind.DATA, b"\1", autocreate=False)
    build.map("third", pinning=Pinning.BY_NAME)
    build.program("main", "xdp", load_map("third"), EXIT)
    trace = trace_of(build)
    assert told(trace) == ["create second | map 0", "create third | map 1", "load main | program 0"]
    assert trace.maps == (("second", ".maps.other", 0, False), ("third", ".maps", 1, True))
    assert [trace.map_create(slot).slot for slot in (0, 1)] == [0, 1]
    first = insns_of(load_of(trace).insns, "little")[0]
    assert (first.src, first.imm) == (Pseudo.MAP_IDX, 1)

    build.program("uses", "xdp", load_map("first"), EXIT)
    with pytest.raises(
        UsageError, match=r"^program 'uses': instruction 0 uses a map with autocreate disabled"
    ):
        build.object().trace()


def template(name: str = "template") -> MapSpec:
    return MapSpec(name, MapKind.USER, ".maps", 0, MapType.HASH, 4, 8, 16)


def test_maps_of_maps() -> None:
    """Each is filled after the last of those in it; the template is closed when it was used."""
    build = ObjectBuilder()
    build.map("a")
    slots = (Slot(0, "b"), Slot(5, "a"))
    build.map("early", MapType.ARRAY_OF_MAPS, inner=template("t"), slots=slots)
    build.map("b")
    build.map("late", MapType.HASH_OF_MAPS, inner=template("u"), slots=(Slot(7, "a"),))
    trace = trace_of(build)
    assert told(trace) == [
        "create a | map 0",
        "create t | map 1",
        "create early of #1 | map 1",
        "close #1 | map 1",
        "create b | map 2",
        "update #2 [0] #4 | map 1",
        "update #2 [5] #0 | map 1",
        "create u | map 3",
        "create late of #7 | map 3",
        "close #7 | map 3",
        "update #8 [7] #0 | map 3",
    ]
    made = trace.ops[1]
    assert isinstance(made, MapCreate)
    assert (made.slot, made.type, made.value_size, made.max_entries) == (None, MapType.HASH, 8, 16)
    update = trace.ops[5]
    assert isinstance(update, MapUpdate) and update.size == 4


def test_maps_of_maps_without() -> None:
    """Without a template it is for the kernel to say; without one of its maps it stays empty."""
    build = ObjectBuilder()
    build.map("bare", MapType.ARRAY_OF_MAPS)
    build.map("left_out", autocreate=False)
    slots = (Slot(0, "bare"), Slot(1, "left_out"))
    build.map("outer", MapType.ARRAY_OF_MAPS, inner=template(), slots=slots)
    # Only maps of maps have templates.
    build.map("plain", MapType.ARRAY, inner=template())
    assert told(trace_of(build)) == [
        "create bare | map 0",
        "create template | map 1",
        "create outer of #1 | map 1",
        "close #1 | map 1",
        "create plain | map 2",
    ]


def test_prog_arrays() -> None:
    """Filled when all programs are loaded, under the guard of each; others' slots stay empty."""
    build = ObjectBuilder()
    slots = tuple(Slot(key, name) for key, name in enumerate(["second", "broken", "first"]))
    build.map("left_out", MapType.PROG_ARRAY, slots=slots, autocreate=False)
    build.map("calls", MapType.PROG_ARRAY, slots=slots)
    build.program("first", "xdp")
    build.program("broken", "?nonsense")
    build.program("second", "?xdp")
    trace = trace_of(build)
    assert told(trace) == [
        "create calls | map 0",
        "load first | program 0",
        "load second | program 2",
        "update #0 [0] #2 | program 2",
        "update #0 [2] #1 | program 0",
    ]
    update = trace.ops[3]
    assert isinstance(update, MapUpdate) and update.size == 4

    build.map("other", MapType.PROG_ARRAY, slots=(Slot(3, "calls"),))
    with pytest.raises(
        BadObject, match=r"^section .maps: map 'other': slot 3: 'calls' is not a prog"
    ):
        build.object().trace()


def test_arena() -> None:
    """Its memory is filled by user space, not by an operation."""
    build = ObjectBuilder()
    build.map("plain")
    build.map("arena", MapType.ARENA, key_size=0, value_size=0, initial=b"\1\2")
    build.map("other", MapType.ARENA, key_size=0, value_size=0)
    trace = trace_of(build)
    assert told(trace) == ["create plain | map 0", "create arena | map 1", "create other | map 2"]
    assert trace.arenas == (Arena(1, b"\1\2"), Arena(2, b""))


def test_kconfig() -> None:
    build = ObjectBuilder()
    wanted = [
        KconfigVar(name, KconfigType.INT, 4, False, offset, False)
        for offset, name in ((0, "CONFIG_HZ"), (4, "LINUX_KERNEL_VERSION"))
    ]
    for var in wanted:
        build.externs.append(Extern(var.name, ExternKind.KCONFIG, False, VOID, kconfig=var))
    build.extern("unrelated", ExternKind.KSYM)
    build.map("user")
    build.data(".kconfig", MapKind.KCONFIG, bytes(8))
    trace = trace_of(build)
    assert told(trace)[1:] == [
        "create .kconfig | map 1",
        "initial #1 [0] zeros, 8 bytes | map 1",
        "freeze #1 | map 1",
    ]
    assert trace.kconfig == KconfigResult(1, 8, tuple(wanted))


# -- struct_ops -----------------------------------------------------------------------------------


def struct_ops(type_: str, **programs: str | None) -> StructOps:
    members = [Member(name, bytes(8), True, program) for name, program in programs.items()]
    return StructOps(type_, (Member("flags", bytes(4), False, None), *members))


def struct_ops_map(build: ObjectBuilder, name: str, ops: StructOps, **fields: Any) -> None:
    fields = {"kind": MapKind.STRUCT_OPS, "section": ".struct_ops", "value_size": 0, **fields}
    build.map(name, MapType.STRUCT_OPS, struct_ops=ops, **fields)


def test_struct_ops() -> None:
    """The map's value type and the program's member are of the kernel's BTF."""
    build = ObjectBuilder(btf=typed()[0].btf())
    first = struct_ops("ops", init="start", release=None)
    second = struct_ops("ops", init="start")
    struct_ops_map(build, "first", first)
    struct_ops_map(build, "second", second)
    build.program("start", "?struct_ops/start")
    build.program("unused", "?struct_ops/unused")
    trace = trace_of(build)
    assert told(trace) == [
        "btf",
        "find STRUCT bpf_struct_ops_ops | map 0",
        "create first by #1 | map 0",
        "close #1 | map 0",
        "find STRUCT bpf_struct_ops_ops | map 1",
        "create second by #4 | map 1",
        "close #4 | map 1",
        "find STRUCT ops | program 0",
        "load start for #7 | program 0",
        "close #7 | program 0",
        "load unused | program 1",
        "close #0",
    ]
    assert trace.inputs == (TypeSize("bpf_struct_ops_ops"), MemberIndex("ops", "init"))
    for slot in (0, 1):
        create = trace.map_create(slot)
        assert (create.value_size, create.btf) == (Input(0), Ref(0))
    assert load_of(trace).expected_attach_type == Input(1)
    assert trace.struct_ops == (StructOpsResult(0, first), StructOpsResult(1, second))


def test_struct_ops_map_that_is_not_created() -> None:
    """Nor is its program loaded, unless another map uses it; the caller may switch it on."""
    build = ObjectBuilder()
    struct_ops_map(build, "off", struct_ops("ops", init="one", exit="two"), autocreate=False)
    struct_ops_map(build, "on", struct_ops("ops", init="one"))
    build.program("one", "struct_ops/one")
    build.program("two", "struct_ops/two")
    trace = trace_of(build)
    assert [program.autoload for program in trace.programs] == [True, False]
    assert trace.inputs == (
        TypeSize("bpf_struct_ops_ops"),
        MemberIndex("ops", "init"),
        MemberIndex("ops", "exit"),
    )
    assert trace.struct_ops == (StructOpsResult(0, struct_ops("ops", init="one")),)
    # Whoever switches a program off that is loaded by itself has the last word.
    off = build.object().with_program("one", autoload=False)
    assert [program.autoload for program in trace_of(off).programs] == [False, False]


# -- programs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_what_a_program_says_of_itself(order: ByteOrder) -> None:
    tables = {
        "func_info": records(order, (0, 1)),
        "line_info": records(order, (0, 2), size=16),
        "core_relos": records(order, (1, 3), size=20),
    }
    build = ObjectBuilder(order, btf=typed()[0].btf(order))
    build.program("first", "tc")
    build.program("main", "cgroup/connect4", number(7), EXIT, **tables)
    op = load_of(trace_of(build), 1)
    assert op == ProgLoad(
        name="main",
        type=ProgType.CGROUP_SOCK_ADDR,
        expected_attach_type=AttachType.CGROUP_INET4_CONNECT,
        flags=0,
        license="GPL",
        insns=number(7).insns[0].encode(order) + EXIT.insns[0].encode(order),
        btf=Ref(0),
        func_info=tables["func_info"],
        line_info=tables["line_info"],
        core_relos=records(order, (8, 3), size=20),
        externs=(),
        attach_btf=None,
        attach_btf_id=None,
        attach_fd=None,
        slot=1,
    )


@pytest.mark.parametrize(
    ("section", "flags"),
    [
        ("xdp", 0),
        ("xdp.frags", ProgFlag.XDP_HAS_FRAGS),
        ("fentry.s/f", ProgFlag.SLEEPABLE),
        ("syscall", ProgFlag.SLEEPABLE),
    ],
)
def test_flags(section: str, flags: int) -> None:
    build = ObjectBuilder()
    build.program("main", section)
    assert load_of(trace_of(build)).flags == flags


@pytest.mark.parametrize(
    ("section", "find"),
    [
        ("fentry/f", "FUNC f"),
        ("fexit/module:f", "FUNC f"),
        ("tp_btf/sched_switch", "TYPEDEF btf_trace_sched_switch"),
        ("lsm/file_open", "FUNC bpf_lsm_file_open"),
        ("iter/task", "FUNC bpf_iter_task"),
    ],
)
def test_attach_targets_in_the_kernels_btf(section: str, find: str) -> None:
    build = ObjectBuilder()
    build.program("main", section)
    trace = trace_of(build)
    guard = " | program 0"
    assert told(trace) == [f"find {find}{guard}", f"load main for #0{guard}", f"close #0{guard}"]
    assert trace.inputs == ()


@pytest.mark.parametrize("section", ["freplace/f", "freplace", "fentry", "lsm"])
def test_attach_targets_that_the_caller_gives(section: str) -> None:
    build = ObjectBuilder()
    build.program("first", "xdp")
    build.program("main", section)
    trace = trace_of(build)
    assert told(trace) == ["load first | program 0", "load main | program 1"]
    assert trace.inputs == (AttachBtfId(1), AttachFd(1))
    op = load_of(trace, 1)
    assert (op.attach_btf_id, op.attach_fd, op.attach_btf) == (Input(0), Input(1), None)


@pytest.mark.parametrize(
    ("section", "inputs"),
    [
        ("fentry.multi", ()),
        ("fexit.multi.s/tcp_*", ()),
        ("fsession.multi/nf_conntrack:*", (AttachFd(0),)),
    ],
)
def test_many_functions_are_targets_when_it_attaches(
    section: str, inputs: tuple[object, ...]
) -> None:
    """It is loaded for the BTF that has them: that of a module is given."""
    build = ObjectBuilder()
    build.program("main", section)
    trace = trace_of(build)
    assert told(trace) == ["load main | program 0"]
    assert trace.inputs == inputs
    op = load_of(trace, 0)
    assert (op.attach_btf_id, op.attach_btf) == (None, None)
    assert op.attach_fd == (Input(0) if inputs else None)


def test_programs_that_are_not_autoloaded() -> None:
    """They are there for the caller to switch on, unless they cannot be linked."""
    build = ObjectBuilder()
    build.program("off", "?xdp")
    build.program("broken", "?xdp", near_call(0), EXIT)
    build.program("typeless", "?nonsense")
    build.program("on", "xdp")
    trace = trace_of(build)
    assert told(trace) == ["load off | program 0", "load on | program 3"]
    assert trace.programs == (
        ProgramResult("off", "xdp", 0, autoload=False),
        ProgramResult("broken", "xdp", None, autoload=False),
        ProgramResult("typeless", "nonsense", None, autoload=False),
        ProgramResult("on", "xdp", 1, autoload=True),
    )
    obj = build.object()
    with pytest.raises(BadObject, match=r"^program 'broken': section xdp: function 'broken'"):
        obj.with_program("broken", autoload=True).trace()
    says = (
        "^program 'typeless': section name 'nonsense' has no known program type .*--type typeless="
    )
    with pytest.raises(NotSupported, match=says):
        obj.with_program("typeless", autoload=True).trace()


# -- externs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_externs(order: ByteOrder) -> None:
    """Each is looked up once a program, in the order of its first use; typed ones are closed."""
    build = ObjectBuilder(order)
    build.extern("address", ExternKind.KSYM, is_typeless=True)
    build.extern("variable", ExternKind.KSYM)
    build.extern("kfunc", ExternKind.KFUNC)
    build.extern("unused", ExternKind.KFUNC)
    build.subprogram("inner", call_extern("kfunc"), load_extern("variable"), EXIT)
    build.program(
        "main",
        "xdp",
        call_extern("kfunc"),
        load_extern("address"),
        load_extern("address"),
        call("inner"),
        EXIT,
    )
    build.program("other", "tc", call_extern("kfunc"), EXIT)
    trace = trace_of(build)
    assert told(trace) == [
        "find FUNC kfunc | program 0",
        "ksym address | program 0",
        "find VAR variable | program 0",
        "load main | program 0",
        "close #0 | program 0",
        "close #2 | program 0",
        "find FUNC kfunc | program 1",
        "load other | program 1",
        "close #6 | program 1",
    ]
    assert load_of(trace).externs == (
        ExternReloc(0, Ref(0), is_call=True),
        ExternReloc(1, Ref(1), is_call=False),
        ExternReloc(3, Ref(1), is_call=False),
        ExternReloc(7, Ref(0), is_call=True),
        ExternReloc(8, Ref(2), is_call=False),
    )
    assert load_of(trace, 1).externs == (ExternReloc(0, Ref(6), is_call=True),)
    kfunc = Insn(i.OP_CALL, src=CallKind.KFUNC)
    typeless = (Insn(i.OP_LD_IMM64, 4, Pseudo.IMM64), Insn(0))
    assert insns_of(load_of(trace).insns, order) == [
        *(kfunc, *typeless, *typeless),
        Insn(i.OP_CALL, src=CallKind.SUBPROGRAM, imm=1),
        EXIT.insns[0],
        *(kfunc, Insn(i.OP_LD_IMM64, 4, Pseudo.BTF_ID), Insn(0), EXIT.insns[0]),
    ]


@pytest.mark.parametrize(
    ("extern", "find"),
    [
        (Extern("f", ExternKind.KFUNC, True, VOID), "find FUNC f weak"),
        (Extern("f___v2", ExternKind.KFUNC, False, VOID), "find FUNC f"),
        (Extern("v___local", ExternKind.KSYM, False, VOID), "find VAR v"),
        (Extern("v", ExternKind.KSYM, True, VOID), "find VAR v weak"),
        (Extern("a___b", ExternKind.KSYM, False, VOID, True), "ksym a___b"),
        (Extern("a", ExternKind.KSYM, True, VOID, True), "ksym a weak"),
        # At address 0, which looks like "not found".
        (
            Extern("__per_cpu_start", ExternKind.KSYM, False, VOID, True),
            "ksym __per_cpu_start weak",
        ),
    ],
)
def test_how_externs_are_looked_up(extern: Extern, find: str) -> None:
    build = ObjectBuilder()
    build.externs.append(extern)
    is_call = extern.kind is ExternKind.KFUNC
    build.program("main", "xdp", (call_extern if is_call else load_extern)(extern.name), EXIT)
    assert told(trace_of(build))[0] == f"{find} | program 0"


def test_address_of_a_kfunc() -> None:
    """Taken, not called: as of a typed variable."""
    build = ObjectBuilder()
    build.extern("kfunc", ExternKind.KFUNC)
    build.program("main", "xdp", load_extern("kfunc"), EXIT)
    first = insns_of(load_of(trace_of(build)).insns, "little")[:2]
    assert first == [Insn(i.OP_LD_IMM64, 4, Pseudo.BTF_ID), Insn(0)]


def test_attach_target_and_externs_of_one_program() -> None:
    build = ObjectBuilder()
    build.extern("kfunc", ExternKind.KFUNC)
    build.program("main", "fentry/f", call_extern("kfunc"), EXIT)
    assert told(trace_of(build)) == [
        "find FUNC f | program 0",
        "find FUNC kfunc | program 0",
        "load main for #0 | program 0",
        "close #1 | program 0",
        "close #0 | program 0",
    ]


# -- links ----------------------------------------------------------------------------------------


def test_links() -> None:
    """Of programs that need nothing more, at the end, in the order of programs."""
    build = ObjectBuilder()
    sections = ["xdp", "iter/task", "fentry/f", "?tp_btf/x", "raw_tp/x", "kprobe/f", "lsm/x"]
    for slot, section in enumerate([*sections, "freplace/f", "?iter/nope"]):
        build.program(f"p{slot}", section)
    obj = build.object()
    broken = replace(obj.programs[-1].function, code=near_call(0).insns[0].encode("little"))
    obj = replace(obj, programs=(*obj.programs[:-1], replace(obj.programs[-1], function=broken)))
    without, trace = trace_of(obj), trace_of(obj, attach=True)
    loads = {op.slot: at for at, op in enumerate(trace.ops) if isinstance(op, ProgLoad)}
    assert without.links == ()
    assert told(trace) == [
        *told(without),
        f"link #{loads[1]} TRACE_ITER | program 1",
        f"open #{loads[2]} | program 2",
        f"open #{loads[3]} | program 3",
        f"open #{loads[6]} | program 6",
    ]
    first = len(without.ops)
    assert trace.links == tuple(LinkResult(slot, first + n) for n, slot in enumerate([1, 2, 3, 6]))
