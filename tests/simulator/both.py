"""Runs a SYSCALL program in the running kernel and in the simulator, and compares them."""

from __future__ import annotations

import ctypes
import mmap
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache

from lskel.bpf import insn as i
from lskel.bpf.attr import load
from lskel.bpf.disasm import disassemble
from lskel.bpf.enums import Cmd, MapType, ProgType
from lskel.bpf.flags import MapFlag, ProgFlag
from lskel.bpf.helpers import HELPER_IDS
from lskel.bpf.insn import Insn, Pseudo
from lskel.bpf.layouts import BTF_LOAD, MAP_ELEM, PROG_LOAD, TEST
from lskel.btf.types import FuncLinkage, IntEncoding
from lskel.catalog.map_types import INSN_ENTRY_SIZE
from lskel.replay.simulator.machine import Helper, Interpreter
from lskel.replay.simulator.memory import Memory
from lskel.runtime.memory import map_memory
from lskel.runtime.objects import Fd
from lskel.runtime.one_element import lookup, update
from lskel.runtime.syscall import BpfError, address_of, bpf, host_attr
from tests.build.btf import BtfBuilder
from tests.runtime.programs import LICENSE, create_map

ORDER = sys.byteorder
VALUE_SIZE = 128
_KEY = bytes(4)
_SHARED = MapFlag.MMAPABLE
_FIRST_FUNCTION = 3
_LOG_SIZE = 1 << 20
# bpf_loop (kernel/bpf/bpf_iter.c): at most so many rounds, and no flags.
_MAX_ROUNDS = 1 << 23
_EINVAL, _E2BIG = 22, 7


@dataclass(frozen=True, slots=True)
class Program:
    """Code, and where those of its functions begin (but the first) that need BTF: callbacks.

    Map 1 is a jump table with the instructions `table`, or else an arena of `pages`.
    """

    code: bytes
    functions: tuple[int, ...] = ()
    table: tuple[int, ...] = ()
    pages: int = 0

    def starts(self) -> tuple[int, ...]:
        """Where the functions begin that BTF tells of."""
        return (0, *self.functions)

    def __str__(self) -> str:
        return "\n".join(str(line) for line in disassemble(self.code, ORDER))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left: r0, cut to the 32 bits that BPF_PROG_RUN returns, and its memory."""

    r0: int
    context: bytes
    value: bytes
    arena: bytes = b""


class Refused(Exception):
    """The kernel does not load the program; its argument is the verifier's log."""


@dataclass(slots=True)
class Tally:
    """Counts programs that both ran, and those that the kernel refused, with the log's end."""

    compared: int = 0
    refused: list[str] = field(default_factory=list)

    def compare(
        self, program: Program, contexts: Sequence[bytes], value: bytes = bytes(VALUE_SIZE)
    ) -> None:
        """`compare`, or count the program as refused."""
        try:
            compare(program, contexts, value)
        except Refused as refusal:
            self.refused.append(str(refusal)[-200:])
        else:
            self.compared += 1

    def share_refused(self) -> float:
        """Of all programs, 0 to 1."""
        return len(self.refused) / (self.compared + len(self.refused))


def compare(
    program: Program,
    contexts: Sequence[bytes] | Callable[[int], Sequence[bytes]],
    value: bytes = bytes(VALUE_SIZE),
) -> list[Outcome]:
    """Run in both, with each context; AssertionError where they differ, else the outcomes.

    Map 0 of the program's fd_array is an array with one element, at first `value`. Contexts may
    depend on the address of the arena.
    """
    with ExitStack() as stack:
        array = stack.enter_context(create_map(MapType.ARRAY, len(_KEY), len(value), 1))
        maps, arena = [array.fileno()], memoryview(bytearray())
        if program.table:
            maps.append(stack.enter_context(_jump_table(program.table)).fileno())
        elif program.pages:
            fd = stack.enter_context(create_map(MapType.ARENA, 0, 0, program.pages, flags=_SHARED))
            mapped = map_memory(fd.fileno(), program.pages * mmap.PAGESIZE)
            stack.callback(mapped.close)
            maps, arena = [*maps, fd.fileno()], mapped.memory
        address = ctypes.addressof(ctypes.c_char.from_buffer(arena)) if arena else 0
        contexts = contexts(address) if callable(contexts) else contexts
        with _loaded(program, maps) as loaded:
            real = [_run(loaded, array, context, value, arena) for context in contexts]
        simulated = [
            simulate(program, context, value, array.fileno(), address) for context in contexts
        ]
    for context, expected, got in zip(contexts, real, simulated, strict=True):
        assert got == expected, f"kernel {expected}\nsimulator {got}\nof {context.hex()}\n{program}"
    return real


@cache
def kernel_takes(*insns: Insn) -> bool:
    """Whether the kernel loads these instructions, with r1 = context, before `r0 = 0; exit`."""
    end = (Insn(i.ALU64 | i.MOV, 0), Insn(i.OP_EXIT))
    program = Program(b"".join(insn.encode(ORDER) for insn in (*insns, *end)))
    try:
        compare(program, [])
    except Refused:
        return False
    return True


def _jump_table(targets: Sequence[int]) -> Fd:
    made = create_map(MapType.INSN_ARRAY, len(_KEY), INSN_ENTRY_SIZE, len(targets))
    for number, target in enumerate(targets):
        value = target.to_bytes(4, ORDER) + bytes(INSN_ENTRY_SIZE - 4)
        update(made.fileno(), number.to_bytes(4, ORDER), value)
    bpf(Cmd.MAP_FREEZE, host_attr(MAP_ELEM, "map_fd", map_fd=made.fileno()))
    return made


@contextmanager
def _loaded(program: Program, maps: Sequence[int]) -> Iterator[int]:
    """The fd of the program in the kernel; Refused with the log where it does not load."""
    btf = _functions(program) if program.functions else None
    try:
        try:
            fd = _load(program, maps, btf)
        except BpfError as error:
            log = bytearray(_LOG_SIZE)
            with suppress(BpfError):
                _load(program, maps, btf, log_level=1, log_size=len(log), log_buf=address_of(log))
            raise Refused(log.partition(b"\0")[0].decode() or str(error)) from error
    finally:
        if btf is not None:
            btf.close()
    with fd:
        yield fd.fileno()


def _load(program: Program, maps: Sequence[int], btf: Fd | None, **fields: int) -> Fd:
    fds = b"".join(fd.to_bytes(4, ORDER) for fd in maps)
    # BTF has int, the prototype and then the functions, in the order of their code.
    info = b"".join(
        struct.pack("=II", at, _FIRST_FUNCTION + number)
        for number, at in enumerate(program.starts())
    )
    attr = host_attr(
        PROG_LOAD,
        "fd_array",
        prog_type=ProgType.SYSCALL,
        insn_cnt=len(program.code) // i.SIZE,
        insns=address_of(program.code),
        license=address_of(LICENSE),
        prog_flags=ProgFlag.SLEEPABLE,
        fd_array=address_of(fds),
        prog_btf_fd=btf.fileno() if btf else 0,
        func_info_rec_size=8 if btf else 0,
        func_info=address_of(info) if btf else 0,
        func_info_cnt=len(info) // 8 if btf else 0,
        **fields,
    )
    return Fd(bpf(Cmd.PROG_LOAD, attr))


def _functions(program: Program) -> Fd:
    """BTF that says: all functions but the first are static."""
    builder = BtfBuilder()
    number = builder.add_int("long", 8, IntEncoding.SIGNED)
    proto = builder.add_func_proto(number, [("a", number), ("b", number)])
    for at in program.starts():
        linkage = FuncLinkage.STATIC if at else FuncLinkage.GLOBAL
        assert builder.add_func(f"f{at}", proto, linkage) >= _FIRST_FUNCTION
    data = builder.bytes(ORDER)
    attr = host_attr(BTF_LOAD, "btf_log_level", btf=address_of(data), btf_size=len(data))
    return Fd(bpf(Cmd.BTF_LOAD, attr))


def _run(fd: int, array: Fd, context: bytes, value: bytes, arena: memoryview) -> Outcome:
    update(array.fileno(), _KEY, value)
    arena[:] = bytes(len(arena))
    memory = bytearray(context)
    attr = host_attr(
        TEST, "ctx_out", prog_fd=fd, ctx_size_in=len(memory), ctx_in=address_of(memory)
    )
    bpf(Cmd.PROG_RUN, attr)
    after = lookup(array.fileno(), _KEY, len(value))
    assert after is not None
    return Outcome(load(attr, TEST, "retval", ORDER), bytes(memory), after, bytes(arena))


def simulate(
    program: Program,
    context: bytes,
    value: bytes = bytes(VALUE_SIZE),
    array: int = -1,
    arena: int = 0,
) -> Outcome:
    """Run in the simulator; `array` is the fd of map 0, `arena` the address that map 1 is at."""
    memory = Memory(ORDER)
    ctx = memory.map("context", bytearray(context))
    element = memory.map("value of map 0", bytearray(value))
    handle = memory.map("map 0", bytearray(8), writable=False)
    addresses = (Interpreter.address_of(target) for target in program.table)
    table = b"".join(address.to_bytes(8, ORDER) for address in addresses)
    jumps = memory.map("map 1", bytearray(table), writable=False)
    low = arena & 0xFFFFFFFF
    pages = memory.map("arena", bytearray(program.pages * mmap.PAGESIZE), base=low)

    def resolve(pseudo: Pseudo, number: int, extra: int) -> int:
        if number == 1:
            return jumps.base + extra
        assert number == (array if pseudo in (Pseudo.MAP_FD, Pseudo.MAP_VALUE) else 0)
        is_value = pseudo in (Pseudo.MAP_VALUE, Pseudo.MAP_IDX_VALUE)
        return element.base + extra if is_value else handle.base

    def lookup_element(machine: Interpreter, *args: int) -> int:
        assert args[0] == handle.base
        return 0 if machine.memory.load(args[1], 4) else element.base

    helpers: dict[int, Helper] = {
        HELPER_IDS["map_lookup_elem"]: lookup_element,
        HELPER_IDS["loop"]: bpf_loop,
        HELPER_IDS["get_smp_processor_id"]: lambda *_: 0,
    }
    machine = Interpreter(program.code, memory, helpers, resolve=resolve, arena=arena)
    r0 = machine.run(ctx) & 0xFFFFFFFF
    return Outcome(r0, bytes(ctx.data), bytes(element.data), bytes(pages.data))


def bpf_loop(machine: Interpreter, *args: int) -> int:
    """The helper: rounds (u32), callback, its second argument, flags."""
    rounds, callback, data, flags, _ = args
    if flags:
        return -_EINVAL
    if rounds & 0xFFFFFFFF > _MAX_ROUNDS:
        # Without flags the kernel inlines the helper, and there this is a 32-bit move.
        return -_E2BIG & 0xFFFFFFFF
    for number in range(rounds & 0xFFFFFFFF):
        if machine.call(callback, number, data):
            return number + 1
    return rounds & 0xFFFFFFFF
