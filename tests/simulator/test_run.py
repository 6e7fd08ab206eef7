"""Whole loaders in the simulator: what they call, what they leave, and what they do on errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import pytest

import lskel
from lskel.bpf import context
from lskel.bpf.asm import Assembler
from lskel.bpf.attr import load, size_through
from lskel.cursor import ByteOrder
from lskel.errors import NotFound, UsageError
from lskel.loader.model import Loader
from lskel.replay.externs import FdArrayBuilder, resolve
from lskel.replay.options import Options
from lskel.replay.simulator.faults import Faults
from lskel.replay.simulator.interpreter.fault import BudgetSpent, SimulatorFault
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.names import AnyName
from lskel.replay.simulator.record import (
    CallRecord,
    FdRef,
    FoundType,
    RecordedCode,
    RecordedFdArray,
    RecordedHelper,
)
from lskel.replay.simulator.run import run
from lskel.replay.simulator.simulate import Replay, simulate
from lskel.replay.simulator.syscall.errnos import Errno
from lskel.replay.simulator.syscall.fds import KernelObject
from lskel.replay.simulator.syscall.maps import SimulatedMap
from lskel.replay.simulator.syscall.programs import SimulatedProgram
from lskel.syscalls import Call, Data, FdPointer, Number, Part, call_of
from lskel.syscalls import FdArray as FdArrayPointer
from lskel.trace import BtfFind, BtfLoad, Close, KsymFind, MapCreate, Op, ProgLoad, Subject, Trace
from tests.build.clang import compile_bpf, example
from tests.loader.replays import EXTERNS, NAMES, WEAK, kernel_of, play

EXAMPLES = ("execsnoop", "hello", "syscount", "xdpcount")

SOURCE = """
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 10);
         __type(key, int); __type(value, long); } table SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4);
         __uint(value_size, 4); } perf SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 5000); } ring SEC(".maps");
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2);
               __type(key, int); __type(value, long); };
struct inner in1 SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 4); __type(key, int);
         __array(values, struct inner); } outer SEC(".maps") = { .values = { [2] = &in1 } };
const volatile int limit = 42;
int counter = 7;
long zeros[3];
static __attribute__((noinline)) int callee(int k)
{ counter += k; return bpf_map_lookup_elem(&table, &k) != 0; }
SEC("socket") int prog(struct __sk_buff *skb)
{ int k = limit; counter += zeros[1]; return callee(k) + callee(k + 1); }
SEC("fentry/some_function") int traced(void *ctx) { return 0; }
"""

_T = TypeVar("_T", bound=KernelObject)


def loader_of(source: str | None, name: str = "test", *, big_endian: bool = False) -> Loader:
    """The loader of a C source, or without one of an example."""
    if source is None:
        return lskel.generate(lskel.open_object(example(name)))
    code = compile_bpf(source, big_endian=big_endian)
    return lskel.generate(lskel.open_object(code, name=name))


def with_module() -> AnyName:
    """All names of vmlinux, but for some that are of a module."""
    return AnyName({"mod": MODULE})


MODULE = ("some_function", *NAMES)
SOURCES = {"source": SOURCE, "externs": EXTERNS}


@pytest.fixture(
    params=[
        *EXAMPLES,
        *("source", "big-endian source", "source with a module"),
        *("externs", "big-endian externs", "externs with a module", "externs without weak ones"),
    ],
    scope="module",
)
def replay(request: pytest.FixtureRequest) -> tuple[Loader, Replay]:
    """A loader that ran to the end."""
    name = request.param
    source = next((text for part, text in SOURCES.items() if part in name), None)
    loader = loader_of(source, name if source is None else "test", big_endian="big" in name)
    names = with_module() if name.endswith("module") else None
    faults = Faults(missing=frozenset(WEAK)) if name.endswith("weak ones") else None
    kernel = SimulatedKernel(loader.trace.order, names=names, faults=faults, cpus=3)
    done = run(loader, kernel=kernel)
    assert done.value == 0, done.records[-1]
    return loader, done


# -- what the trace says --------------------------------------------------------------------------


def with_records(trace: Trace, records: tuple[CallRecord, ...]) -> Iterator[tuple[int, CallRecord]]:
    """Each operation, by its number, with its call; some make none.

    Those are closing an fd that there is not, as vmlinux's, and what is not loaded by itself.
    """
    left = iter(records)
    found: dict[int, CallRecord] = {}
    for number, op in enumerate(trace.ops):
        guard = trace.guards.get(number)
        of_program = guard is not None and guard.subject is Subject.PROGRAM
        if guard is not None and of_program and not trace.programs[guard.slot].autoload:
            continue
        if isinstance(op, Close) and not made_by(found, op.ref.op, Part.FD):
            continue
        found[number] = next(left)
        yield number, found[number]
    assert not list(left)


def made_by(results: Mapping[int, CallRecord], op: int, part: Part) -> Any:
    """What an operation made; 0 where it found nothing."""
    result = results[op].result
    if isinstance(result, FoundType):
        return result.type_id if part is Part.BTF_ID else result.btf
    return 0 if result == -Errno.ENOENT else result


def test_calls_are_those_of_the_trace(replay: tuple[Loader, Replay]) -> None:
    loader, done = replay
    trace = loader.trace
    by_op: dict[int, CallRecord] = {}
    for number, record in with_records(trace, done.records):
        by_op[number] = record
        op = trace.ops[number]
        if isinstance(op, BtfFind):
            assert (record.cmd, record.attr["name"]) == (RecordedHelper.BTF_FIND, op.name)
            assert record.attr["kind"] == op.kind
        elif isinstance(op, KsymFind):
            assert (record.cmd, record.attr["name"]) == (RecordedHelper.KALLSYMS, op.name)
        elif isinstance(op, Close):
            assert record.cmd is RecordedHelper.CLOSE
            assert record.attr["fd"] == made_by(by_op, op.ref.op, Part.FD)
        else:
            filled = filled_in(trace, op, record, by_op) if isinstance(op, ProgLoad) else op
            call = call_of(filled, trace.order)
            assert call is not None
            check_call(trace, call, record, by_op)


def filled_in(
    trace: Trace, op: ProgLoad, load: CallRecord, by_op: Mapping[int, CallRecord]
) -> ProgLoad:
    """The op as direct replay would load it, with the same slots."""
    used = {extern.find.op for extern in op.externs}
    found = {number: made_by(by_op, number, Part.BTF_ID) for number in used}
    refs = {number: made_by(by_op, number, Part.FD) for number in used}
    fds = {number: ref.fd for number, ref in refs.items() if isinstance(ref, FdRef)}
    array = load.attr["fd_array"]
    assert isinstance(array, RecordedFdArray)
    slots = {ref.fd: slot for slot, ref in array.used if isinstance(ref, FdRef)}
    return resolve(trace, op, found, fds, _Slots(slots))


class _Slots(FdArrayBuilder):
    """Where a replay has put fds in fd_array."""

    def __init__(self, slots: Mapping[int, int]) -> None:
        super().__init__([])
        self.slots = slots

    def index(self, fd: int) -> int:
        return self.slots[fd] if fd else 0


def check_call(
    trace: Trace, call: Call, record: CallRecord, by_op: Mapping[int, CallRecord]
) -> None:
    """Every field of the attr is what the trace says."""
    maps = {slot: by_op[m.op].result for slot, m in enumerate(trace.maps) if m.op in by_op}
    assert (record.cmd, record.size) == (call.cmd, len(call.attr))
    checked = set()
    for number in call.numbers:
        assert isinstance(number, Number)
        assert record.attr[number.field] == made_by(by_op, number.ref.op, number.part)
        checked.add(number.field)
    for pointer in call.pointers:
        value = record.attr[pointer.field]
        if isinstance(pointer, Data):
            raw = value.raw if isinstance(value, RecordedCode) else value
            content = pointer.content.ljust(pointer.size, b"\0")
            assert raw == (content[:-1].decode() if isinstance(raw, str) else content)
        elif isinstance(pointer, FdPointer):
            assert value == made_by(by_op, pointer.ref.op, Part.FD)
        else:
            assert isinstance(pointer, FdArrayPointer) and isinstance(value, RecordedFdArray)
            assert all(fd == maps[slot] for slot, fd in value.used if slot in maps)
        checked.add(pointer.field)
    for field, value in record.attr.items():
        if field in checked or field not in call.layout or isinstance(value, str | bytes):
            continue
        expected = load(call.attr, call.layout, field, trace.order)
        if field == "max_entries":
            assert value in (expected, *OF_THIS_MACHINE)
        else:
            assert value == expected or size_through(call.layout, field) > len(call.attr)


# max_entries of a ring buffer of 5000 bytes, and of perf events on 3 CPUs.
OF_THIS_MACHINE = (8192, 3)


def objects(loader: Loader, done: Replay, kind: type[_T]) -> dict[str, _T]:
    """The maps, or the programs, that the loader gave back, by name."""
    trace = loader.trace

    def at(offset: int) -> _T:
        fd = int.from_bytes(done.context[offset : offset + 4], trace.order)
        return done.kernel.fds.get(fd, kind)

    if kind is SimulatedMap:
        return {made.name: at(context.map_fd(slot)) for slot, made in enumerate(trace.maps)}
    return {
        program.name: at(context.program_fd(len(trace.maps), slot))
        for slot, program in enumerate(trace.programs)
        if program.autoload
    }


def test_what_is_left(replay: tuple[Loader, Replay]) -> None:
    """The maps and programs of the context are open, and nothing else is."""
    loader, done = replay
    trace = loader.trace
    maps, programs = objects(loader, done, SimulatedMap), objects(loader, done, SimulatedProgram)
    assert len(done.open_fds) == len(maps) + len(programs)
    for slot, made in enumerate(trace.maps):
        op, found = trace.map_create(slot), maps[made.name]
        assert (found.type, found.key_size, found.value_size) == (
            op.type,
            op.key_size,
            op.value_size,
        )
        assert made.name.startswith(found.name[:8])
    for slot, program in enumerate(trace.programs):
        loaded = trace.prog_load(slot)
        if loaded is not None and program.autoload:
            assert programs[program.name].insns == loaded.insns or loaded.externs
            assert programs[program.name].func_info == loaded.func_info
            assert programs[program.name].core_relos.data == loaded.core_relos.data
            assert programs[program.name].license == loaded.license


def value(done: Replay, made: SimulatedMap) -> bytes:
    element = made.storage.lookup(bytes(made.key_size), b"")
    assert isinstance(element, bytearray)
    return bytes(element)


@pytest.mark.parametrize("big_endian", [False, True])
def test_values(big_endian: bool) -> None:
    order: ByteOrder = "big" if big_endian else "little"
    loader = loader_of(SOURCE, big_endian=big_endian)
    done = run(loader, kernel=SimulatedKernel(order, cpus=3))
    maps = objects(loader, done, SimulatedMap)
    assert value(done, maps["test.rodata"]) == (42).to_bytes(4, order)
    assert value(done, maps["test.data"]) == (7).to_bytes(4, order)
    assert value(done, maps["test.bss"]) == bytes(24)
    assert [maps[f"test.{name}"].frozen for name in ("rodata", "data", "bss")] == [
        True,
        False,
        False,
    ]
    assert maps["outer"].storage.lookup((2).to_bytes(4, order), b"") is maps["in1"]
    # These depend on the machine, not on the object.
    assert (maps["perf"].max_entries, maps["ring"].max_entries) == (3, 8192)


def test_overrides() -> None:
    loader = loader_of(SOURCE)
    initial = {"test.rodata": b"abcd", "test.bss": bytes(range(24))}
    done = run(loader, Options(max_entries={"table": 1234}, initial=initial))
    maps = objects(loader, done, SimulatedMap)
    assert maps["table"].max_entries == 1234
    assert value(done, maps["test.rodata"]) == b"abcd"
    assert value(done, maps["test.bss"]) == bytes(range(24))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (Options(max_entries={"nothing": 1}), "no map 'nothing'"),
        (Options(initial={"nothing": b""}), "no map 'nothing'"),
        (Options(initial={"table": b""}), "not global data"),
        (Options(initial={"test.data": b"ab"}), "expected 4 bytes, got 2"),
    ],
)
def test_wrong_overrides(changes: Options, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(loader_of(SOURCE), changes)


def test_initial_values_nowhere() -> None:
    """Where the caller's pointer leads nowhere, the loader gives up before the update."""
    loader = loader_of(SOURCE)
    ctx = bytearray(loader.context_size)
    slot = next(s for s, made in enumerate(loader.trace.maps) if made.name == "test.data")
    at = context.initial_value(slot)
    ctx[at : at + 8] = (0x1234).to_bytes(8, "little")
    for entries, name in ((1, "perf"), (4096, "ring")):
        slot = next(s for s, made in enumerate(loader.trace.maps) if made.name == name)
        at = context.max_entries(slot)
        ctx[at : at + 4] = entries.to_bytes(4, "little")
    done = simulate(loader.insns, loader.blob, bytes(ctx), "little")
    assert done.value == -Errno.EFAULT
    assert not done.open_fds


def test_two_loaders_in_one_process() -> None:
    kernel = SimulatedKernel("little")
    loader = loader_of(None, "syscount")
    first, second = run(loader, kernel=kernel), run(loader, kernel=kernel)
    assert first.value == second.value == 0
    assert len(kernel.records) == len(first.records) + len(second.records)
    assert len(kernel.open_fds) == 2 * (len(loader.trace.maps) + len(loader.trace.programs))
    assert second.records[0].n == len(first.records)


def test_replays_are_equal() -> None:
    loader = loader_of(SOURCE)
    assert run(loader).records == run(loader).records
    names = SimulatedKernel("little", names=with_module())
    assert run(loader).records != run(loader, kernel=names).records


# -- what goes wrong ------------------------------------------------------------------------------


def is_tolerated(op: Op) -> bool:
    """Whether loading goes on where the operation fails."""
    if isinstance(op, BtfLoad):
        return not op.needed_by
    return isinstance(op, MapCreate) and op.btf_is_optional


@pytest.mark.parametrize(
    "name", [*EXAMPLES, "source", "source, module", "externs", "externs, module"]
)
def test_every_call_fails_once(name: str) -> None:
    """The loader returns the error, says which operation it was, and leaves nothing open."""
    loader = loader_of(SOURCES.get(name.split(",")[0]), name if name in EXAMPLES else "test")

    def kernel(calls: Mapping[int, int]) -> SimulatedKernel:
        return kernel_of(loader, calls=calls, module=MODULE if name.endswith("module") else ())

    good = play(loader, kernel({}))
    for number, record in with_records(loader.trace, good.records):
        done = play(loader, kernel({record.n: Errno.ENOMEM}))
        assert done.records[: record.n] == good.records[: record.n]
        if is_tolerated(loader.trace.ops[number]):
            assert done.value == 0
            again = {record.n: Errno.ENOMEM, record.n + 1: Errno.ENOMEM}
            done = play(loader, kernel(again))
        if record.cmd is RecordedHelper.CLOSE or isinstance(loader.trace.ops[number], BtfLoad):
            continue
        assert (done.value, done.failed_op(loader)) == (-Errno.ENOMEM, number)
        assert all(later.cmd is RecordedHelper.CLOSE for later in done.records[record.n + 2 :])
    assert good.failed_op(loader) is None


def test_out_of_fds() -> None:
    loader = loader_of(SOURCE)
    needed = len(run(loader).open_fds) + 1  # the object's BTF
    for limit in range(needed):
        done = run(loader, faults=Faults(max_fds=limit))
        assert done.value == -Errno.EMFILE
        assert not done.open_fds
    assert run(loader, faults=Faults(max_fds=needed)).value == 0


def test_missing_target() -> None:
    loader = loader_of(SOURCE)
    done = run(loader, faults=Faults(missing=frozenset(("some_function",))))
    assert done.value == -Errno.ENOENT
    op = done.failed_op(loader)
    assert op is not None and isinstance(loader.trace.ops[op], BtfFind)
    assert not done.open_fds


# -- any program ----------------------------------------------------------------------------------


def program(emit: Callable[[Assembler], None]) -> bytes:
    asm = Assembler("little")
    emit(asm)
    asm.exit()
    return asm.assemble()


@pytest.mark.parametrize(("number", "returned"), [(0, 0), (5, 5), (-7, -7)])
def test_returned_value(number: int, returned: int) -> None:
    done = simulate(program(lambda asm: asm.mov_imm(0, number)), b"blob", b"", "little")
    assert (done.value, done.blob, done.context) == (returned, b"blob", b"")
    assert not done.records and not done.printed


@pytest.mark.parametrize(("index", "offset"), [(1, 0), (0, 4), (-1, 0)])
def test_outside_the_blob(index: int, offset: int) -> None:
    code = program(lambda asm: asm.map_value(0, index, offset))
    with pytest.raises(NotFound, match="outside the loader's one map"):
        simulate(code, b"blob", b"", "little")


def test_endless_loop() -> None:
    def emit(asm: Assembler) -> None:
        asm.label("again")
        asm.jump("again")

    with pytest.raises(BudgetSpent):
        simulate(program(emit), b"blob", b"", "little", budget=1000)


def test_memory_is_given_back_after_a_fault() -> None:
    kernel = SimulatedKernel("little")
    code = program(lambda asm: asm.load(8, 0, 1, 0))
    for _ in range(2):
        with pytest.raises(SimulatorFault, match="context has 4 bytes"):
            simulate(code, b"blob", bytes(4), "little", kernel=kernel)
    region = kernel.map_user("probe", bytearray(1))
    assert kernel.memory.find(region.base, 1) == (region, 0)
    assert not kernel.open_fds
