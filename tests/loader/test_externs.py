"""What loaders find in the kernel, and what instructions make of it; in the simulator."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

import lskel
from lskel.bpf import insn as i
from lskel.bpf.asm import MAX_JUMP
from lskel.bpf.enums import Cmd
from lskel.bpf.insn import CallKind, Insn, Pseudo
from lskel.bpf.limits import MAX_KFUNC_DESCS, MAX_USED_MAPS
from lskel.btf.btf import Btf
from lskel.btf.kinds import Kind
from lskel.loader.bundle import dump
from lskel.loader.description import describe
from lskel.loader.generate import generate
from lskel.loader.model import Form, Loader
from lskel.replay.options import Options
from lskel.replay.simulator.names import AnyName, KernelImage
from lskel.replay.simulator.record import (
    CallRecord,
    FdRef,
    FoundType,
    RecordedCode,
    RecordedFdArray,
    RecordedHelper,
)
from lskel.replay.simulator.simulate import Replay
from lskel.trace import BtfFind, ExternReloc, ProgLoad, Ref, Trace
from tests.build.btf import BtfBuilder
from tests.build.clang import compile_bpf
from tests.loader.replays import (
    EXTERNS,
    NAMES,
    SLOTS,
    WEAK,
    is_open,
    kernel_of,
    loaded,
    loader_of,
    of,
    places,
    play,
    prog_load,
)

ENDIAN = pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
FIRST_SLOT = MAX_USED_MAPS


def kfuncs(count: int, calls: int = 1) -> str:
    """A program that calls each of so many kfuncs so many times."""
    declared = "".join(f"extern void kfunc{n}(int) __ksym;\n" for n in range(count))
    called = "".join(f"kfunc{n}({call});" for call in range(calls) for n in range(count))
    return f'{declared} SEC("raw_tp/sys_enter") int prog(void *c) {{ {called} return 0; }}'


def found(done: Replay, name: str) -> FoundType:
    """What the only lookup of a type found."""
    (record,) = (r for r in of(done, RecordedHelper.BTF_FIND) if r.attr["name"] == name)
    assert isinstance(record.result, FoundType)
    return record.result


def fd_of(what: FoundType) -> int:
    assert isinstance(what.btf, FdRef)
    return what.btf.fd


def calls_of_kfuncs(insns: list[Insn]) -> list[Insn]:
    return [insn for insn in insns if insn.op == i.OP_CALL and insn.src == CallKind.KFUNC]


def wide(done: Replay, loader: Loader, program: str, symbol: str) -> tuple[Insn, Insn]:
    """The ld_imm64 of a symbol, both slots as the kernel got them."""
    insns = loaded(done, program)
    (at,) = (n for n in places(loader.trace, program, symbol) if i.is_wide(insns[n]))
    return insns[at], insns[at + 1]


# -- what bundles say of them --------------------------------------------------------------------


@ENDIAN
def test_bundles_tell_calls_from_loads_by_the_code(big_endian: bool) -> None:
    written = loader_of(EXTERNS, big_endian=big_endian)
    stored = describe(written)["ops"]
    assert all(
        extern.keys() == {"insn", "find"} for op in stored for extern in op.get("externs", ())
    )
    trace = Loader.load(dump(written)).trace
    assert trace == written.trace
    loads = [op for op in trace.ops if isinstance(op, ProgLoad)]
    calls = {
        (extern.is_call, i.read(op.insns, extern.insn, trace.order).op)
        for op in loads
        for extern in op.externs
    }
    assert calls == {(True, i.OP_CALL), (False, i.OP_LD_IMM64)}


# -- calls of kfuncs ------------------------------------------------------------------------------


@ENDIAN
def test_many_calls_of_a_kfunc_of_vmlinux(big_endian: bool) -> None:
    loader = loader_of(kfuncs(1, 300), big_endian=big_endian)
    kernel = kernel_of(loader)
    done = play(loader, kernel)
    assert done.value == 0
    type_id = found(done, "kfunc0").type_id
    calls = calls_of_kfuncs(loaded(done, "prog"))
    assert len(calls) == 300
    assert set(calls) == {Insn(i.OP_CALL, 0, CallKind.KFUNC, off=0, imm=type_id)}
    assert kernel.fd_arrays == [(0,) * SLOTS]
    # There is no fd of vmlinux's BTF; that of the object's own is closed.
    assert len(of(done, RecordedHelper.CLOSE)) == 1


@ENDIAN
def test_many_calls_of_a_kfunc_of_a_module(big_endian: bool) -> None:
    loader = loader_of(kfuncs(1, 300), big_endian=big_endian)
    kernel = kernel_of(loader, module=["kfunc0"])
    done = play(loader, kernel)
    assert done.value == 0
    what = found(done, "kfunc0")
    calls = calls_of_kfuncs(loaded(done, "prog"))
    assert len(calls) == 300
    assert {(call.imm, call.off) for call in calls} == {(what.type_id, FIRST_SLOT)}
    (fds,) = kernel.fd_arrays
    assert {slot: fd for slot, fd in enumerate(fds) if fd} == {FIRST_SLOT: fd_of(what)}
    assert [record.attr["fd"] for record in of(done, RecordedHelper.CLOSE)].count(what.btf) == 1


def test_ids_are_those_of_a_kernels_btf() -> None:
    """Of a real image, in which the BTF of modules is split off from that of vmlinux."""
    vmlinux = BtfBuilder()
    number = vmlinux.add_int("int", 4)
    proto = vmlinux.add_func_proto(0, [("n", number)])
    first = vmlinux.add_func("kfunc0", proto)
    module = BtfBuilder(vmlinux)
    second = module.add_func("kfunc1", proto)
    loader = loader_of(kfuncs(2))
    names = KernelImage(vmlinux.btf(), {"mod": module.btf()})
    done = play(loader, kernel_of(loader, names=names))
    assert done.value == 0
    calls = calls_of_kfuncs(loaded(done, "prog"))
    assert [(call.imm, call.off) for call in calls] == [(first, 0), (second, FIRST_SLOT + 1)]
    without = kernel_of(loader, names=KernelImage(vmlinux.btf()))
    assert play(loader, without).value == -errno.ENOENT


def test_programs_use_the_same_slots() -> None:
    loader = loader_of(EXTERNS)
    kernel = kernel_of(loader, module=NAMES)
    done = play(loader, kernel)
    assert done.value == 0
    first, second = kernel.fd_arrays
    assert [slot for slot, fd in enumerate(first) if fd and slot >= FIRST_SLOT] == [
        FIRST_SLOT,
        FIRST_SLOT + 1,
    ]
    assert [slot for slot, fd in enumerate(second) if fd and slot >= FIRST_SLOT] == [FIRST_SLOT]
    # Each program looks anew for what it uses; what it found is closed behind it.
    finds = [r for r in of(done, RecordedHelper.BTF_FIND) if r.attr["name"] == "kfunc"]
    assert len(finds) == 2
    assert all(isinstance(find.result, FoundType) and is_open(find.result.btf) for find in finds)


# -- more slots than are reserved -----------------------------------------------------------------


@ENDIAN
def test_more_kfuncs_than_slots(big_endian: bool) -> None:
    count = MAX_KFUNC_DESCS + 3
    names = [f"kfunc{n}" for n in range(count)]
    loader = loader_of(kfuncs(count, 2), big_endian=big_endian)
    done = play(loader, kernel_of(loader, module=names))
    assert done.value == 0
    (load,) = of(done, Cmd.PROG_LOAD)
    array = load.attr["fd_array"]
    assert isinstance(array, RecordedFdArray)
    (more,) = (region for region in loader.regions if region.field == "more slots")
    slots = [slot for slot, _ in array.used]
    assert slots[:MAX_KFUNC_DESCS] == list(range(FIRST_SLOT, SLOTS))
    assert slots[MAX_KFUNC_DESCS:] == [more.offset // 4 + n for n in range(3)]
    btfs = dict(array.used)
    calls = calls_of_kfuncs(loaded(done, "prog"))
    assert len(calls) == 2 * count
    for name, call in zip(names * 2, calls, strict=True):
        assert call.imm == found(done, name).type_id
        assert btfs[call.off] == found(done, name).btf
    assert len(of(done, RecordedHelper.CLOSE)) == count + 1


def with_kfuncs(trace: Trace, count: int) -> Trace:
    """The trace of one program that calls one kfunc, made to call so many."""
    (number,) = (n for n, op in enumerate(trace.ops) if isinstance(op, ProgLoad))
    load = trace.ops[number]
    assert isinstance(load, ProgLoad)
    call, end = Insn(i.OP_CALL, 0, CallKind.KFUNC), Insn(i.OP_EXIT)
    code = b"".join(insn.encode(trace.order) for insn in (*(call,) * count, end))
    load = replace(
        load,
        insns=code,
        externs=tuple(ExternReloc(insn, Ref(insn), is_call=True) for insn in range(count)),
        btf=None,
        slot=0,
    )
    finds = tuple(BtfFind(f"kfunc{n}", Kind.FUNC, False) for n in range(count))
    (made,) = trace.programs
    return replace(
        trace, ops=(*finds, load), programs=(made._replace(op=count),), maps=(), guards={}
    )


def test_slots_past_what_an_offset_can_say() -> None:
    trace = loader_of(kfuncs(1)).trace
    # Ahead of the slots past the reserved ones lies the status, of 8 bytes with its padding.
    room = MAX_KFUNC_DESCS + MAX_JUMP + 1 - (SLOTS + 2)
    with pytest.raises(
        lskel.LimitExceeded, match="that an instruction's offset can encode"
    ) as caught:
        generate(with_kfuncs(trace, room + 1), Form.UNROLLED)
    assert (caught.value.limit, caught.value.actual) == (MAX_JUMP, MAX_JUMP + 1)


# -- what is missing ------------------------------------------------------------------------------


@ENDIAN
def test_weak_kfunc_that_is_missing(big_endian: bool) -> None:
    loader = loader_of(EXTERNS, big_endian=big_endian)
    kernel = kernel_of(loader, module=NAMES, missing=["weak_kfunc"])
    done = play(loader, kernel)
    assert done.value == 0
    insns = loaded(done, "first")
    calls = [insns[n] for n in places(loader.trace, "first", "weak_kfunc")]
    assert calls.count(Insn(i.OP_CALL, 0, CallKind.KFUNC)) == 1
    assert kernel.fd_arrays[0][FIRST_SLOT + 1] == 0
    # bpf_ksym_exists: a plain 0, with no registers but its own.
    load, second = wide(done, loader, "first", "weak_kfunc")
    assert load == Insn(i.OP_LD_IMM64, load.dst) and second == Insn(0)
    as_compiled = prog_insn(loader, "first", "weak_kfunc")
    assert (as_compiled.src, as_compiled.dst) == (Pseudo.BTF_ID, load.dst)


@ENDIAN
@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("in_module", [False, True], ids=["vmlinux", "module"])
def test_weak_kfunc_of_another_type(form: Form, in_module: bool, big_endian: bool) -> None:
    """It counts as missing, wherever it is; nothing looks for it."""
    source = """
        extern int kfunc0(int) __ksym;
        extern int weak(int) __weak __ksym;
        SEC("raw_tp/sys_enter") int prog(void *c) { kfunc0(1); if (weak) weak(2); return 0; }"""
    obj = lskel.open_object(compile_bpf(source, big_endian=big_endian), name="test")
    loader = generate(obj, form)
    order = loader.trace.order
    vmlinux = BtfBuilder()
    number = vmlinux.add_int("unsigned long", 8)
    vmlinux.add_func("kfunc0", vmlinux.add_func_proto(number, [("n", number)]))
    module = BtfBuilder(vmlinux)
    where = module if in_module else vmlinux
    for params, is_there in (([("n", number)], True), ([("n", number)] * 2, False)):
        where.add_func("weak", where.add_func_proto(number, params))
        base = vmlinux.btf(order)
        names = KernelImage(base, {"mod": Btf(module.bytes(order), base)} if in_module else {})
        done = play(loader, kernel_of(loader, names=names))
        assert done.value == 0
        found = [r.attr["name"] for r in of(done, RecordedHelper.BTF_FIND)]
        assert found == ["kfunc0", *(["weak"] if is_there else [])]
        call = [insn for insn in loaded(done, "prog") if insn.op == i.OP_CALL][-1]
        (load,) = (insn for insn in loaded(done, "prog") if i.is_wide(insn))
        assert (call.imm != 0, load.src) == (is_there, Pseudo.BTF_ID if is_there else 0)
        assert not in_module or (call.off != 0) == is_there
        where.records[-1].name_off = 0  # the next one takes its place


def prog_insn(loader: Loader, program: str, symbol: str) -> Insn:
    """The ld_imm64 of a symbol as it is in the trace."""
    trace = loader.trace
    code = prog_load(trace, program).insns
    insns = (i.read(code, n, trace.order) for n in places(trace, program, symbol))
    (insn,) = filter(i.is_wide, insns)
    return insn


def op_of(loader: Loader, symbol: str) -> int:
    """The first operation that looks for a symbol."""
    return next(n for n, op in enumerate(loader.trace.ops) if getattr(op, "name", "") == symbol)


@pytest.mark.parametrize("symbol", ["kfunc", "variable", "address"])
@pytest.mark.parametrize("module", [(), NAMES], ids=["vmlinux", "module"])
def test_others_may_not_be_missing(symbol: str, module: tuple[str, ...]) -> None:
    loader = loader_of(EXTERNS)
    done = play(loader, kernel_of(loader, module=module, missing=[symbol]))
    assert (done.value, done.failed_op(loader)) == (-errno.ENOENT, op_of(loader, symbol))


@pytest.mark.parametrize("symbol", WEAK)
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM])
def test_weak_ones_may_be_missing_only(symbol: str, number: int) -> None:
    """Another error of the lookup is not reported as a missing symbol."""
    loader = loader_of(EXTERNS)
    good = play(loader, kernel_of(loader, module=NAMES))
    (call,) = (record.n for record in good.records if record.attr.get("name") == symbol)
    done = play(loader, kernel_of(loader, module=NAMES, calls={call: number}))
    assert (done.value, done.failed_op(loader)) == (-number, op_of(loader, symbol))
    # As missing, it is no error, however it comes about.
    done = play(loader, kernel_of(loader, module=NAMES, calls={call: errno.ENOENT}))
    assert done.value == 0


# -- variables and addresses ----------------------------------------------------------------------


@ENDIAN
@pytest.mark.parametrize("symbol", ["variable", "weak_variable", "weak_kfunc"])
@pytest.mark.parametrize("module", [(), NAMES], ids=["vmlinux", "module"])
def test_typed_symbols(symbol: str, module: tuple[str, ...], big_endian: bool) -> None:
    loader = loader_of(EXTERNS, big_endian=big_endian)
    done = play(loader, kernel_of(loader, module=module))
    assert done.value == 0
    what = found(done, symbol)
    load, second = wide(done, loader, "first", symbol)
    assert load == Insn(i.OP_LD_IMM64, load.dst, Pseudo.BTF_ID, imm=what.type_id)
    assert second == Insn(0, imm=fd_of(what) if module else 0)
    assert what.btf != 0 or not module


@ENDIAN
@pytest.mark.parametrize(
    ("program", "symbol"), [("first", "weak_variable"), ("second", "weak_address")]
)
def test_weak_symbols_that_are_missing_are_0(program: str, symbol: str, big_endian: bool) -> None:
    loader = loader_of(EXTERNS, big_endian=big_endian)
    done = play(loader, kernel_of(loader, missing=WEAK))
    assert done.value == 0
    load, second = wide(done, loader, program, symbol)
    assert load == Insn(i.OP_LD_IMM64, prog_insn(loader, program, symbol).dst)
    assert second == Insn(0)


@ENDIAN
@pytest.mark.parametrize("symbol", ["address", "weak_address"])
def test_addresses(symbol: str, big_endian: bool) -> None:
    loader = loader_of(EXTERNS, big_endian=big_endian)
    done = play(loader, kernel_of(loader))
    load, second = wide(done, loader, "second", symbol)
    assert (load.src, second._replace(imm=0)) == (Pseudo.IMM64, Insn(0))
    value = (second.imm & 0xFFFFFFFF) << 32 | load.imm & 0xFFFFFFFF
    assert value == AnyName().address(symbol)
    assert value >> 32 and value & 0xFFFFFFFF


# -- both byte orders -----------------------------------------------------------------------------


def shape(record: CallRecord) -> tuple[object, ...]:
    """A call without what the byte order changes: of bytes and instructions, how many there are."""
    fields = {
        name: len(value) if isinstance(value, bytes | RecordedCode) else value
        for name, value in record.attr.items()
    }
    return record.cmd, fields, record.result


@pytest.mark.parametrize("missing", [(), WEAK], ids=["all there", "weak ones missing"])
def test_byte_orders_differ_in_bytes_only(missing: tuple[str, ...]) -> None:
    little, big = loader_of(EXTERNS), loader_of(EXTERNS, big_endian=True)
    ours = play(little, kernel_of(little, module=NAMES, missing=missing))
    theirs = play(big, kernel_of(big, module=NAMES, missing=missing))
    assert ours.value == theirs.value == 0
    assert [shape(record) for record in ours.records] == [shape(r) for r in theirs.records]
    for program in ("first", "second"):
        assert loaded(ours, program) == loaded(theirs, program)


@ENDIAN
def test_configuration_values(big_endian: bool) -> None:
    """They are a map's value: written and frozen before a program is loaded."""
    loader = loader_of(EXTERNS, big_endian=big_endian)
    wanted = {"CONFIG_HZ": "250", "CONFIG_BPF": "y"}
    done = play(loader, kernel_of(loader), Options(kconfig=wanted))
    (write,), (freeze,) = of(done, Cmd.MAP_UPDATE_ELEM), of(done, Cmd.MAP_FREEZE)
    value = write.attr["value"]
    assert value == (250).to_bytes(4, loader.trace.order) + b"\1"
    assert str(write.attr["map_fd"]) == str(freeze.attr["map_fd"]) == "map test.kconfig"
    assert write.n < freeze.n < of(done, Cmd.PROG_LOAD)[0].n
