"""What loaders leave out, take from the caller, or do without; in the simulator."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping

import pytest

from lskel.bpf import context
from lskel.bpf.enums import Cmd, MapType, ProgType
from lskel.bpf.flags import MapFlag
from lskel.bpf.layouts import MAP_CREATE, PROG_LOAD
from lskel.describe.labels import label
from lskel.errors import UsageError
from lskel.loader.blob import RegionKind
from lskel.loader.generate import generate
from lskel.loader.model import Form, Loader
from lskel.loader.records import SIZE, Code
from lskel.replay.compare import describe
from lskel.replay.options import Options
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.record import (
    CallRecord,
    FdRef,
    FoundType,
    RecordedFdArray,
    RecordedHelper,
)
from lskel.replay.simulator.simulate import Replay, simulate
from lskel.runtime.failure import failure
from lskel.runtime.request import MapRequest, ProgramRequest, Request, build_context
from lskel.trace import BtfLoad, Close, MapCreate, MemberIndex, ProgLoad, TypeSize
from tests.build.elf import RETURN_0
from tests.loader.replays import is_open, issue, kernel_of, loader_of, of, play

MAPS = """
extern void kfunc(void) __ksym;
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 10);
         __type(key, int); __type(value, long); } table SEC(".maps");
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2);
               __type(key, int); __type(value, long); };
struct inner in1 SEC(".maps"), in2 SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 4); __type(key, int);
         __array(values, struct inner); } outer SEC(".maps") = { .values = { &in1, [3] = &in2 } };
int on(void *), off(void *);
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 4); __uint(key_size, 4);
         __array(values, int (void *)); } tails SEC(".maps") =
       { .values = { [1] = &on, &off, &on } };
int counter = 7;
const volatile int limit = 3;
SEC("raw_tp/sys_enter") int on(void *c)
{
	bpf_map_delete_elem(&table, &(int){0});
	bpf_tail_call(c, &tails, 1);
	return counter += limit;
}
SEC("?raw_tp/sys_enter") int off(void *c) { kfunc(); return 0; }
"""


def described(done: Replay) -> list[str]:
    """The calls, in short."""
    return [describe(record) for record in done.records]


def program_fd(loader: Loader, done: Replay, name: str) -> int:
    """What the loader wrote to the context."""
    maps = len(loader.trace.maps)
    slot = next(n for n, made in enumerate(loader.trace.programs) if made.name == name)
    at = context.program_fd(maps, slot)
    return int.from_bytes(done.context[at : at + 4], loader.trace.order)


def map_slot(loader: Loader, name: str) -> int:
    return next(n for n, made in enumerate(loader.trace.maps) if made.name == name)


# -- programs that are switched off and on --------------------------------------------------------


@pytest.mark.parametrize("big_endian", [False, True])
def test_what_is_not_loaded_costs_no_call(big_endian: bool) -> None:
    """Not even where the kernel lacks what it needs."""
    loader = loader_of(MAPS, big_endian=big_endian)
    done = play(loader, kernel_of(loader, missing=["kfunc"]))
    assert done.value == 0
    assert not of(done, RecordedHelper.BTF_FIND)
    assert [record.attr["prog_name"] for record in of(done, Cmd.PROG_LOAD)] == ["on"]
    assert program_fd(loader, done, "off") == 0
    assert program_fd(loader, done, "on") in done.open_fds


@pytest.mark.parametrize("big_endian", [False, True])
def test_programs_are_switched_on(big_endian: bool) -> None:
    loader = loader_of(MAPS, big_endian=big_endian)
    options = Options(autoload={"off": True})
    done = play(loader, kernel_of(loader, module=["kfunc"]), options)
    assert done.value == 0
    assert [record.attr["prog_name"] for record in of(done, Cmd.PROG_LOAD)] == ["on", "off"]
    assert {program_fd(loader, done, name) for name in ("on", "off")} <= done.open_fds.keys()
    assert len(of(done, RecordedHelper.BTF_FIND)) == 1
    done = play(loader, kernel_of(loader, missing=["kfunc"]), options)
    assert done.value == -errno.ENOENT


def test_programs_are_switched_off() -> None:
    loader = loader_of(MAPS)
    done = play(loader, kernel_of(loader), Options(autoload={"on": False}))
    assert done.value == 0
    assert not of(done, Cmd.PROG_LOAD) and not of(done, RecordedHelper.BTF_FIND)
    assert program_fd(loader, done, "on") == program_fd(loader, done, "off") == 0
    assert "prog" not in {ref.kind for ref in done.open_fds.values()}


def test_what_cannot_be_loaded_cannot_be_switched_on() -> None:
    loader = loader_of('SEC("?no such") int p(void *c) { return 0; }')
    assert play(loader, kernel_of(loader)).value == 0
    with pytest.raises(UsageError, match=r"'p' cannot be loaded: .* generated without it"):
        play(loader, kernel_of(loader), Options(autoload={"p": True}))


@pytest.mark.parametrize(
    ("autoload", "slots"),
    [
        ({}, {1: "on", 3: "on"}),
        ({"off": True}, {1: "on", 2: "off", 3: "on"}),
        ({"on": False}, {}),
        ({"on": False, "off": True}, {2: "off"}),
    ],
)
def test_slots_of_prog_arrays(autoload: Mapping[str, bool], slots: Mapping[int, str]) -> None:
    """A program that is not loaded leaves its slots empty; all are filled after the last load."""
    loader = loader_of(MAPS)
    done = play(loader, kernel_of(loader), Options(autoload=autoload))
    assert done.value == 0
    updates = [r for r in of(done, Cmd.MAP_UPDATE_ELEM) if str(r.attr["map_fd"]) == "map tails"]
    found = {int.from_bytes(key(update), "little"): update.attr["value"] for update in updates}
    assert {slot: str(ref) for slot, ref in found.items()} == {
        slot: f"prog {name}" for slot, name in slots.items()
    }
    last = max((record.n for record in of(done, Cmd.PROG_LOAD)), default=0)
    assert all(update.n > last for update in updates)


def key(update: CallRecord) -> bytes:
    found = update.attr["key"]
    assert isinstance(found, bytes)
    return found


def test_slots_of_maps_of_maps() -> None:
    """Filled as soon as the maps in them are there; the template is closed at once."""
    loader = loader_of(MAPS)
    done = play(loader, kernel_of(loader))
    updates = [r for r in of(done, Cmd.MAP_UPDATE_ELEM) if str(r.attr["map_fd"]) == "map outer"]
    assert [(key(r)[0], str(r.attr["value"])) for r in updates] == [(0, "map in1"), (3, "map in2")]
    calls = described(done)
    template = calls.index("close map outer.inner")
    assert calls[template - 2 : template] == [
        "BPF_MAP_CREATE outer.inner",
        "BPF_MAP_CREATE outer",
    ]


# -- maps that the caller gives -------------------------------------------------------------------


def create(kernel: SimulatedKernel, type_: MapType, **fields: int) -> int:
    """A map that the process makes: its fd."""
    sizes = {"key_size": 4, "value_size": 4} | fields
    return issue(kernel, Cmd.MAP_CREATE, MAP_CREATE, map_type=type_, **sizes)


def inner(kernel: SimulatedKernel) -> int:
    return create(kernel, MapType.ARRAY, value_size=8, max_entries=2)


GIVEN: dict[str, Callable[[SimulatedKernel], int]] = {
    "table": lambda k: create(k, MapType.HASH, value_size=8, max_entries=10),
    "test.data": lambda k: create(k, MapType.ARRAY, max_entries=1),
    "in1": inner,
    "outer": lambda k: create(k, MapType.ARRAY_OF_MAPS, max_entries=4, inner_map_fd=inner(k)),
    "tails": lambda k: create(k, MapType.PROG_ARRAY, max_entries=4),
}


def play_with(
    loader: Loader, kernel: SimulatedKernel, given: Iterable[str], inputs: tuple[int, ...] = ()
) -> tuple[Replay, dict[str, int]]:
    """A replay with maps of these names that exist already, and their fds."""
    trace, maps = loader.trace, len(loader.trace.maps)
    fds = {name: GIVEN[name](kernel) for name in given}
    request = Request(
        tuple(MapRequest(made.name, made.type) for made in map(trace.map_create, range(maps))),
        tuple(ProgramRequest(p.name, 0, p.autoload, p.autoload) for p in trace.programs),
        inputs,
    )
    ctx = build_context(request, trace.order, lambda _: 0)
    for name, fd in fds.items():
        at = context.map_fd(map_slot(loader, name))
        ctx[at : at + 4] = fd.to_bytes(4, trace.order)
    return simulate(loader.insns, loader.blob, bytes(ctx), trace.order, kernel=kernel), fds


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("name", GIVEN)
def test_given_maps_are_used(name: str, big_endian: bool) -> None:
    loader = loader_of(MAPS, big_endian=big_endian)
    done, fds = play_with(loader, kernel_of(loader), [name])
    assert done.value == 0
    made = {record.attr["map_name"] for record in of(done, Cmd.MAP_CREATE)}
    left_out = {name, "outer.inner"} if name == "outer" else {name}
    assert made == ({m.name for m in loader.trace.maps} | {"outer.inner"}) - left_out
    # Nothing writes to it but, late, the slots of a prog array.
    writes = [r for r in of(done, Cmd.MAP_UPDATE_ELEM) if of_fd(r.attr["map_fd"]) == fds[name]]
    assert len(writes) == (2 if name == "tails" else 0)
    at = context.map_fd(map_slot(loader, name))
    assert int.from_bytes(done.context[at : at + 4], loader.trace.order) == fds[name]
    (load,) = of(done, Cmd.PROG_LOAD)
    array = load.attr["fd_array"]
    assert isinstance(array, RecordedFdArray)
    used = {slot: of_fd(fd) for slot, fd in array.used}
    assert used.get(map_slot(loader, name), fds[name]) == fds[name]
    if name == "in1":
        assert any(
            of_fd(record.attr["value"]) == fds[name] for record in of(done, Cmd.MAP_UPDATE_ELEM)
        )


def of_fd(value: object) -> int:
    return value.fd if isinstance(value, FdRef) else 0


def test_given_maps_stay_the_callers() -> None:
    """Whatever fails, their fds stay open, and only theirs."""
    loader = loader_of(MAPS)
    good, fds = play_with(loader, kernel_of(loader), ["table", "in1"])
    assert good.value == 0
    before = set(good.kernel.open_fds) & set(fds.values())
    failures = 0
    for record in good.records:
        calls = {record.n: errno.ENOMEM, record.n + 1: errno.ENOMEM}
        kernel = kernel_of(loader, calls=calls)
        done, fds = play_with(loader, kernel, ["table", "in1"])
        assert set(fds.values()) == before
        assert all(is_open(r.attr["fd"]) for r in of(done, RecordedHelper.CLOSE))
        if done.value < 0:
            failures += 1
            assert set(done.open_fds) == before
    assert failures > 10


# -- BTF that the kernel rejects ------------------------------------------------------------------


def reject_btf(loader: Loader) -> Replay:
    """A replay in a kernel that rejects the object's BTF."""
    good = play(loader, kernel_of(loader))
    (load,) = of(good, Cmd.BTF_LOAD)
    return play(loader, kernel_of(loader, calls={load.n: errno.EINVAL}))


@pytest.mark.parametrize("big_endian", [False, True])
def test_loading_goes_on_without_btf(big_endian: bool) -> None:
    loader = loader_of(MAPS, big_endian=big_endian)
    with_btf, done = play(loader, kernel_of(loader)), reject_btf(loader)
    assert done.value == 0
    assert any(record.attr["btf_fd"] for record in of(with_btf, Cmd.MAP_CREATE))
    for record in of(done, Cmd.MAP_CREATE):
        assert not record.attr["btf_fd"]
        assert not record.attr["btf_key_type_id"] and not record.attr["btf_value_type_id"]
    for record in of(done, Cmd.PROG_LOAD):
        assert not record.attr["prog_btf_fd"]
        assert not record.attr["func_info_cnt"] and not record.attr["line_info_cnt"]
    # Apart from that, and from closing the BTF, the calls are the same.
    assert described(done) == described(with_btf)[:-1]


SPIN_LOCK = """
struct value { struct bpf_spin_lock lock; int x; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1);
         __type(key, int); __type(value, struct value); } locked SEC(".maps");
SEC("raw_tp/sys_enter") int prog(void *c) { return (long)&locked; }
"""
REPLACING = 'SEC("freplace/function") int replacing(void *c) { return 0; }'
CORE = """
struct task_struct { int pid; } __attribute__((preserve_access_index));
SEC("raw_tp/sys_enter") int prog(struct task_struct *task) { return task->pid; }
"""


@pytest.mark.parametrize(
    ("source", "needed_by"),
    [
        (SPIN_LOCK, "map 'locked'"),
        (REPLACING, "program 'replacing' (freplace)"),
        (CORE, "function 'prog' (CO-RE relocations)"),
    ],
)
def test_where_btf_is_needed_that_is_said(source: str, needed_by: str) -> None:
    loader = loader_of(source)
    load = loader.trace.ops[0]
    assert isinstance(load, BtfLoad) and load.needed_by == needed_by
    kernel = kernel_of(loader, calls={0: errno.EINVAL})
    done, _ = play_with(loader, kernel, [], (0,) * len(loader.trace.inputs))
    assert (done.value, done.failed_op(loader)) == (-errno.EINVAL, 0)
    assert len(done.records) == 1 and not done.open_fds
    assert f"needed by {needed_by}: EINVAL" in str(
        failure(0, label(loader.trace, load), errno.EINVAL)
    )


ENUM_KEY = """
enum color { RED, GREEN };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2);
         __type(key, enum color); __type(value, int); } colors SEC(".maps");
SEC("raw_tp/sys_enter") int prog(void *c) { return (long)&colors; }
"""


@pytest.mark.parametrize("big_endian", [False, True])
def test_maps_whose_types_the_kernel_refuses(big_endian: bool) -> None:
    """As it does an enum for the key of an array: without types it takes the map."""
    loader = loader_of(ENUM_KEY, big_endian=big_endian)
    assert [op.btf_is_optional for op in loader.trace.ops if isinstance(op, MapCreate)] == [True]
    done = play(loader, kernel_of(loader))
    assert done.value == 0
    refused, taken = of(done, Cmd.MAP_CREATE)
    assert (refused.result, bool(refused.attr["btf_fd"])) == (-errno.EINVAL, True)
    without = {"btf_fd": 0, "btf_key_type_id": 0, "btf_value_type_id": 0}
    assert taken.attr == {**refused.attr, **without}
    assert [str(ref) for ref in done.open_fds.values()] == ["map colors", "prog prog"]
    # The second refusal is an error.
    again = play(loader, kernel_of(loader, calls={taken.n: errno.EPERM}))
    create = next(n for n, op in enumerate(loader.trace.ops) if isinstance(op, MapCreate))
    assert (again.value, again.failed_op(loader)) == (-errno.EPERM, create)


# -- inputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("big_endian", [False, True])
def test_inputs_of_freplace(big_endian: bool) -> None:
    loader = loader_of(REPLACING, big_endian=big_endian)
    kernel = kernel_of(loader)
    target = issue(
        kernel,
        Cmd.PROG_LOAD,
        PROG_LOAD,
        prog_type=ProgType.SOCKET_FILTER,
        insns=RETURN_0,
        insn_cnt=2,
        license=b"GPL\0",
    )
    done, _ = play_with(loader, kernel, [], (42, target))
    assert done.value == 0
    (load,) = of(done, Cmd.PROG_LOAD)
    assert load.attr["prog_type"] == ProgType.EXT
    assert (load.attr["attach_btf_id"], of_fd(load.attr["attach_btf_obj_fd"])) == (42, target)


STRUCT_OPS = """
struct some_ops { int number; int (*function)(void *); };
SEC("struct_ops") int function(void *c) { return 0; }
SEC(".struct_ops") struct some_ops registered = { .number = 1, .function = function };
"""


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("is_of_module", [False, True])
def test_inputs_of_struct_ops(is_of_module: bool, big_endian: bool) -> None:
    loader = loader_of(STRUCT_OPS, big_endian=big_endian)
    names = ["some_ops", "bpf_struct_ops_some_ops"] if is_of_module else []
    kernel = kernel_of(loader, module=names)
    assert loader.trace.inputs == (
        TypeSize("bpf_struct_ops_some_ops"),
        MemberIndex("some_ops", "function"),
    )
    done, _ = play_with(loader, kernel, [], (192, 5))
    assert done.value == 0
    value_type, program_type = (record.result for record in of(done, RecordedHelper.BTF_FIND))
    assert isinstance(value_type, FoundType) and isinstance(program_type, FoundType)
    (create,), (load,) = of(done, Cmd.MAP_CREATE), of(done, Cmd.PROG_LOAD)
    assert create.attr["value_size"] == 192
    assert create.attr["btf_vmlinux_value_type_id"] == value_type.type_id
    assert create.attr["value_type_btf_obj_fd"] == value_type.btf
    assert create.attr["map_flags"] == (MapFlag.VTYPE_BTF_OBJ_FD if is_of_module else 0)
    assert load.attr["expected_attach_type"] == 5
    assert load.attr["attach_btf_id"] == program_type.type_id
    assert load.attr["attach_btf_obj_fd"] == program_type.btf
    assert [str(ref) for ref in done.open_fds.values()] == ["map registered", "prog function"]


# -- messages -------------------------------------------------------------------------------------

RESULT_OF = (Code.CALL, Code.FIND, Code.KSYM)


def records_of(loader: Loader) -> list[tuple[int, int]]:
    """The operations and codes of a table loader's records."""
    regions = sorted(r for r in loader.regions if r.kind is RegionKind.RECORDS)
    return [
        (region.op, loader.blob[at])
        for region in regions
        for at in range(region.offset, region.offset + region.size, SIZE)
    ]


@pytest.mark.parametrize("form", Form)
def test_debug_prints_each_result(form: Form) -> None:
    trace = loader_of(MAPS).trace
    loader, quiet = (generate(trace, form, debug=debug) for debug in (True, False))
    options = Options(autoload={"off": True})
    done = play(loader, kernel_of(loader, module=["kfunc"]), options)
    silent = play(quiet, kernel_of(quiet, module=["kfunc"]), options)
    assert done.value == silent.value == 0
    assert described(done) == described(silent) and not silent.printed
    calls = [op for op in trace.ops if not isinstance(op, Close)]
    texts, results = zip(*(message.rsplit(": ", 1) for message in done.printed), strict=True)
    if form is Form.TABLE:
        # Records count from 1 there.
        records = enumerate(records_of(loader), 1)
        numbers = [number for number, (_, code) in records if code in RESULT_OF]
        assert list(texts) == [f"lskel: record {number}" for number in numbers]
    else:
        assert list(texts) == [
            f"lskel: {type(op).__name__} {getattr(op, 'name', '')}" for op in calls
        ]
    made = [int(result) for op, result in zip(calls, results, strict=True) if type(op) is ProgLoad]
    assert made == [program_fd(loader, done, name) for name in ("on", "off")]


@pytest.mark.parametrize("form", Form)
def test_debug_prints_what_failed_last(form: Form) -> None:
    loader = generate(loader_of(MAPS).trace, form, debug=True)
    good = play(loader, kernel_of(loader))
    (load,) = of(good, Cmd.PROG_LOAD)
    done = play(loader, kernel_of(loader, calls={load.n: errno.EACCES}))
    assert done.value == -errno.EACCES
    text, result = done.printed[-1].rsplit(": ", 1)
    assert int(result) == -errno.EACCES
    if form is Form.TABLE:
        op, code = records_of(loader)[int(text.removeprefix("lskel: record ")) - 1]
        assert code == Code.CALL and loader.trace.ops[op] == loader.trace.prog_load(0)
    else:
        assert text == "lskel: ProgLoad on"
