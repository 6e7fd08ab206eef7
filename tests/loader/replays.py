"""Loaders of small C sources, replayed in the simulator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

import lskel
from lskel.bpf import insn as i
from lskel.bpf.attr import encode
from lskel.bpf.enums import Cmd
from lskel.bpf.insn import Insn
from lskel.bpf.layouts import PROG_LOAD, Layout
from lskel.bpf.limits import MAX_KFUNC_DESCS, MAX_USED_MAPS
from lskel.loader.lower import FD_SIZE
from lskel.loader.model import Form, Loader
from lskel.replay.options import DEFAULTS, Options
from lskel.replay.simulator.faults import Faults
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.names import AnyName, KernelNames
from lskel.replay.simulator.record import CallRecord, FdRef, RecordedCode, RecordedHelper
from lskel.replay.simulator.run import run
from lskel.replay.simulator.simulate import Replay
from lskel.replay.simulator.syscall.attrs import SIZE
from lskel.trace import BtfFind, KsymFind, ProgLoad, Trace
from tests.build.clang import compile_bpf

SLOTS = MAX_USED_MAPS + MAX_KFUNC_DESCS

# One symbol of each kind, and one of each that is weak.
EXTERNS = """
extern void kfunc(int) __ksym;
extern void weak_kfunc(int) __weak __ksym;
extern const int variable __ksym;
extern const int weak_variable __weak __ksym;
extern const void address __ksym;
extern const void weak_address __weak __ksym;
extern int CONFIG_HZ __kconfig;
extern _Bool CONFIG_BPF __weak __kconfig;
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1);
         __type(key, int); __type(value, int); } table SEC(".maps");
SEC("raw_tp/sys_enter") int first(void *c)
{
	kfunc(1);
	if (weak_kfunc)
		weak_kfunc(2);
	kfunc(3);
	return variable + (&weak_variable ? weak_variable : 0) + CONFIG_HZ + CONFIG_BPF;
}
SEC("raw_tp/sys_exit") int second(void *c)
{
	kfunc(4);
	bpf_map_delete_elem(&table, &(int){0});
	return (&address == c) + (&weak_address == c);
}
SEC("?raw_tp/sys_exit") int optional(void *c) { kfunc(5); return 0; }
"""
NAMES = ("kfunc", "weak_kfunc", "variable", "weak_variable")
WEAK = ("weak_kfunc", "weak_variable", "weak_address")


@cache
def loader_of(
    source: str, name: str = "test", *, big_endian: bool = False, debug: bool = False
) -> Loader:
    """The loader of a C source."""
    obj = lskel.open_object(compile_bpf(source, big_endian=big_endian), name=name)
    return lskel.generate(obj, Form.UNROLLED, debug=debug)


class Watched(SimulatedKernel):
    """A kernel that keeps what fd_array held at each BPF_PROG_LOAD: the reserved slots, as fds."""

    fd_arrays: list[tuple[int, ...]]

    def sys_bpf(self, cmd: int, address: int, size: int) -> int:
        if cmd == Cmd.PROG_LOAD:
            array = self.memory.load(address + PROG_LOAD["fd_array"][0], 8)
            content = self.memory.read(array, SLOTS * FD_SIZE)
            self.fd_arrays.append(
                tuple(
                    int.from_bytes(content[at : at + FD_SIZE], self.order)
                    for at in range(0, len(content), FD_SIZE)
                )
            )
        return super().sys_bpf(cmd, address, size)


def kernel_of(
    loader: Loader,
    *,
    module: Iterable[str] = (),
    names: KernelNames | None = None,
    missing: Iterable[str] = (),
    calls: Mapping[int, int] = {},
) -> Watched:
    """A kernel whose module `mod` has some names; vmlinux has all others that are not missing.

    `calls` are the errnos of calls that fail, by their number.
    """
    kernel = Watched(
        loader.trace.order,
        names=names or AnyName({"mod": module}),
        faults=Faults(calls=calls, missing=frozenset(missing)),
    )
    kernel.fd_arrays = []
    return kernel


def issue(kernel: SimulatedKernel, cmd: Cmd, layout: Layout, **fields: int | bytes) -> int:
    """A call that the process itself makes; bytes are what a pointer points to. What it returns."""
    values = {
        name: value if isinstance(value, int) else kernel.map_user(name, bytearray(value)).base
        for name, value in fields.items()
    }
    attr = encode(layout, SIZE, kernel.order, **values)
    return kernel.bpf(cmd, kernel.map_user("attr", attr).base, SIZE)


def play(loader: Loader, kernel: SimulatedKernel, options: Options = DEFAULTS) -> Replay:
    """Run it. Whatever happens: no fd is closed twice, and nothing stays open after a failure."""
    done = run(loader, options, kernel=kernel)
    for record in done.records:
        if record.cmd is RecordedHelper.CLOSE:
            assert is_open(record.attr["fd"]), record
    if done.value < 0:
        assert not done.open_fds
    return done


def is_open(fd: object) -> bool:
    """Whether a field of a record is an fd that was open."""
    return isinstance(fd, FdRef) and bool(fd.kind)


def of(done: Replay, cmd: Cmd | RecordedHelper) -> list[CallRecord]:
    """The calls of a kind."""
    return [record for record in done.records if record.cmd is cmd]


def loaded(done: Replay, program: str) -> list[Insn]:
    """The instructions that the kernel got, slot by slot."""
    (load,) = (r for r in of(done, Cmd.PROG_LOAD) if r.attr["prog_name"] == program)
    code = load.attr["insns"]
    assert isinstance(code, RecordedCode)
    return [i.read(code.raw, n, done.kernel.order) for n in range(len(code))]


def prog_load(trace: Trace, program: str) -> ProgLoad:
    """The op that loads a program."""
    slots = {made.name: slot for slot, made in enumerate(trace.programs)}
    op = trace.prog_load(slots[program])
    assert op is not None
    return op


def places(trace: Trace, program: str, symbol: str) -> list[int]:
    """The instructions of a program that refer to a symbol."""
    found = []
    for extern in prog_load(trace, program).externs:
        find = trace.ops[extern.find.op]
        assert isinstance(find, BtfFind | KsymFind)
        if find.name == symbol:
            found.append(extern.insn)
    return found
