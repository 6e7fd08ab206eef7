"""Loader programs that would run for ever, each spending something else of the simulator.

``python -m tests.hostile.loops NAME`` runs one and prints what ended it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

from lskel.bpf import insn as i
from lskel.bpf import layouts
from lskel.bpf.asm import Assembler
from lskel.bpf.attr import store
from lskel.bpf.enums import Cmd, MapType, ProgType
from lskel.bpf.insn import Insn, Pseudo
from lskel.bpf.layouts import Layout
from lskel.cursor import ByteOrder
from lskel.errors import LskelError
from lskel.replay.simulator.simulate import simulate
from tests.build.btf import BtfBuilder

ORDER: ByteOrder = "little"
MIB = 1 << 20
# Where things are in the blob: two attrs, an fd, a key; from `DATA` on what they point to.
ATTR, OTHER, FD, KEY, DATA = 0, 256, 512, 520, 1024
BLOB = 64 * MIB
ATTR_SIZE = 168
_REGISTERS = range(1, 6)


class Loop(NamedTuple):
    """A program and its blob."""

    code: bytes
    blob: bytes


class Writer:
    """Writes a program that sets things up and then does one thing over and over."""

    def __init__(self) -> None:
        self.asm = Assembler(ORDER)
        self.blob = bytearray(BLOB)

    def attr(self, at: int, layout: Layout, **fields: int) -> None:
        """Put an attr into the blob."""
        raw = bytearray(ATTR_SIZE)
        for name, value in fields.items():
            store(raw, layout, name, value, ORDER)
        self.blob[at : at + ATTR_SIZE] = raw

    def point(self, at: int, layout: Layout, field: str, to: int) -> None:
        """Let a field of an attr point to an offset in the blob."""
        self.asm.map_value(6, 0, to)
        self.asm.map_value(7, 0, at + layout[field][0])
        self.asm.store(8, 7, 0, 6)

    def bpf(self, cmd: Cmd, at: int) -> None:
        """Call bpf(2)."""
        self.asm.mov_imm(1, cmd)
        self.asm.map_value(2, 0, at)
        self.asm.mov_imm(3, ATTR_SIZE)
        self.asm.call("sys_bpf")

    def keep_fd(self, *places: int) -> None:
        """Store the fd that the last call returned."""
        for place in places:
            self.asm.map_value(7, 0, place)
            self.asm.store(4, 7, 0, 0)

    def close(self) -> None:
        """Close what the last call returned."""
        self.asm.mov(1, 0)
        self.asm.call("sys_close")

    def count(self, at: int, size: int = 4) -> None:
        """Add one to a number in the blob."""
        self.asm.map_value(7, 0, at)
        self.asm.load(size, 6, 7, 0)
        self.asm.alu_imm(i.ADD, 6, 1)
        self.asm.store(size, 7, 0, 6)

    def helper(self, name: str, *args: int | str) -> None:
        """Call a helper; texts are offsets in the blob, or labels of functions."""
        for register, arg in zip(_REGISTERS, args, strict=False):
            if isinstance(arg, int):
                self.asm.mov_imm(register, arg)
            elif arg.isdigit():
                self.asm.map_value(register, 0, int(arg))
            else:
                self.asm.function(register, arg)
        self.asm.call(name)

    def forever(self, body: Callable[[], None]) -> Loop:
        """The loop around `body`; functions follow it."""
        self.asm.label("again")
        body()
        self.asm.jump("again")
        self.asm.label("function")
        self.asm.mov_imm(0, 0)
        self.asm.exit()
        return Loop(self.asm.assemble(), bytes(self.blob))


def nothing(w: Writer) -> Loop:
    return w.forever(lambda: None)


def loads(w: Writer) -> Loop:
    w.asm.map_value(7, 0, 0)
    return w.forever(lambda: w.asm.load(8, 6, 7, 0))


def calls(w: Writer) -> Loop:
    return w.forever(lambda: w.bpf(Cmd.MAP_FREEZE, ATTR))


def callbacks(w: Writer) -> Loop:
    return w.forever(lambda: w.helper("loop", 1 << 23, "function", 0, 0))


def subprograms(w: Writer) -> Loop:
    # The function is two instructions on: the jump back lies between.
    return w.forever(lambda: w.asm.emit(Insn(i.OP_CALL, src=i.CallKind.SUBPROGRAM, imm=1)))


def copies(w: Writer) -> Loop:
    return w.forever(lambda: w.helper("probe_read_kernel", str(BLOB // 2), BLOB // 2, str(0)))


def failed_copies(w: Writer) -> Loop:
    return w.forever(lambda: w.helper("probe_read_kernel", str(DATA), BLOB - DATA, 8))


def long_names(w: Writer) -> Loop:
    w.blob[DATA:-1] = b"\xff" * (BLOB - DATA - 1)
    return w.forever(lambda: w.helper("btf_find_by_name_kind", str(DATA), BLOB - DATA, 4, 0))


def wide_prints(w: Writer) -> Loop:
    w.blob[DATA : DATA + 20] = b"%999d%999d%999d".ljust(20, b"\0")
    return w.forever(lambda: w.helper("trace_printk", str(DATA), 16, 1, 2, 3))


def prints(w: Writer) -> Loop:
    w.blob[DATA : DATA + 20] = b"%99999999999d".ljust(20, b"\0")
    return w.forever(lambda: w.helper("trace_printk", str(DATA), 14, 1))


def lookups(w: Writer) -> Loop:
    def body() -> None:
        w.asm.emit(Insn(i.OP_LD_IMM64, 1, Pseudo.MAP_IDX))
        w.asm.emit(Insn(0))
        w.asm.map_value(2, 0, KEY)
        w.asm.call("map_lookup_elem")

    return w.forever(body)


def _map(w: Writer, kind: MapType, **fields: int) -> None:
    w.attr(ATTR, layouts.MAP_CREATE, map_type=kind, **fields)


def maps(w: Writer) -> Loop:
    _map(w, MapType.ARRAY, key_size=4, value_size=1 << 30, max_entries=1 << 30)

    def body() -> None:
        w.bpf(Cmd.MAP_CREATE, ATTR)
        w.close()

    return w.forever(body)


def _updates(w: Writer, *, key: int | None = KEY, number: int = KEY) -> Loop:
    """Updates of a map, between which a number in the key or in the value grows."""
    w.attr(OTHER, layouts.MAP_ELEM)
    w.bpf(Cmd.MAP_CREATE, ATTR)
    w.keep_fd(OTHER + layouts.MAP_ELEM["map_fd"][0])
    if key is not None:
        w.point(OTHER, layouts.MAP_ELEM, "key", key)
    w.point(OTHER, layouts.MAP_ELEM, "value", DATA)

    def body() -> None:
        w.count(number)
        w.bpf(Cmd.MAP_UPDATE_ELEM, OTHER)

    return w.forever(body)


def hash_elements(w: Writer) -> Loop:
    _map(w, MapType.HASH, key_size=4, value_size=8, max_entries=1 << 31)
    return _updates(w)


def large_elements(w: Writer) -> Loop:
    _map(w, MapType.HASH, key_size=4, value_size=MIB, max_entries=1 << 31)
    return _updates(w)


def array_elements(w: Writer) -> Loop:
    _map(w, MapType.ARRAY, key_size=4, value_size=16 * MIB, max_entries=1 << 31)
    return _updates(w)


def trie_elements(w: Writer) -> Loop:
    _map(w, MapType.LPM_TRIE, key_size=260, value_size=8, max_entries=1 << 31, map_flags=1)
    w.blob[KEY : KEY + 4] = (2048).to_bytes(4, ORDER)
    return _updates(w, number=KEY + 4)


def queue_elements(w: Writer) -> Loop:
    _map(w, MapType.QUEUE, value_size=4096, max_entries=1 << 20)
    return _updates(w, key=None, number=DATA)


def btfs(w: Writer) -> Loop:
    builder = BtfBuilder()
    for number in range(100_000):
        builder.add_int(f"t{number}", 4)
    data = builder.bytes()
    w.blob[DATA : DATA + len(data)] = data
    w.attr(ATTR, layouts.BTF_LOAD, btf_size=len(data))
    w.point(ATTR, layouts.BTF_LOAD, "btf", DATA)
    return w.forever(lambda: w.bpf(Cmd.BTF_LOAD, ATTR))


def _programs(w: Writer, insn: Insn, second: Insn | None = None, **fields: int) -> Loop:
    """Loads of programs of a million instructions, which refer to a map."""
    _map(w, MapType.ARRAY, key_size=4, value_size=8, max_entries=1)
    w.bpf(Cmd.MAP_CREATE, ATTR)
    code = insn.encode(ORDER) + (second.encode(ORDER) if second else b"")
    count = 1_000_000
    code *= count * 8 // len(code)
    w.keep_fd(FD)
    w.blob[DATA : DATA + len(code)] = code
    layout = layouts.PROG_LOAD
    w.attr(OTHER, layout, prog_type=ProgType.SOCKET_FILTER, insn_cnt=count, **fields)
    w.point(OTHER, layout, "insns", DATA)
    w.point(OTHER, layout, "license", KEY)
    w.point(OTHER, layout, "fd_array", FD)

    def body() -> None:
        w.bpf(Cmd.PROG_LOAD, OTHER)
        w.close()

    return w.forever(body)


def programs(w: Writer) -> Loop:
    return _programs(w, Insn(i.OP_LD_IMM64, src=Pseudo.MAP_IDX), Insn(0))


def kfuncs(w: Writer) -> Loop:
    return _programs(w, Insn(i.OP_CALL, src=i.CallKind.KFUNC, off=1))


def small_programs(w: Writer) -> Loop:
    w.attr(OTHER, layouts.PROG_LOAD, prog_type=ProgType.SOCKET_FILTER, insn_cnt=1)
    w.blob[DATA : DATA + 8] = Insn(i.OP_EXIT).encode(ORDER)
    w.point(OTHER, layouts.PROG_LOAD, "insns", DATA)
    w.point(OTHER, layouts.PROG_LOAD, "license", KEY)

    def body() -> None:
        w.bpf(Cmd.PROG_LOAD, OTHER)
        w.close()

    return w.forever(body)


def fd_arrays(w: Writer) -> Loop:
    w.attr(OTHER, layouts.PROG_LOAD, prog_type=ProgType.SOCKET_FILTER, insn_cnt=1)
    w.point(OTHER, layouts.PROG_LOAD, "insns", DATA)
    w.point(OTHER, layouts.PROG_LOAD, "license", KEY)
    w.point(OTHER, layouts.PROG_LOAD, "fd_array", DATA)
    w.attr(ATTR, layouts.BTF_LOAD)
    store_count = layouts.PROG_LOAD["fd_array_cnt"][0]
    w.blob[OTHER + store_count : OTHER + store_count + 4] = (BLOB // 8).to_bytes(4, ORDER)
    return w.forever(lambda: w.bpf(Cmd.PROG_LOAD, OTHER))


LOOPS: Mapping[str, Callable[[Writer], Loop]] = {
    make.__name__: make
    for make in (
        *(nothing, loads, calls, callbacks, subprograms, copies, failed_copies, long_names),
        *(wide_prints, prints, lookups, maps, hash_elements, large_elements, array_elements),
        *(trie_elements, queue_elements, btfs, programs, kfuncs),
        *(small_programs, fd_arrays),
    )
}


def main(name: str) -> int:
    """1 where an error ended it, as it should."""
    code, blob = LOOPS[name](Writer())
    try:
        simulate(code, blob, bytes(8), ORDER)
    except LskelError as error:
        print(f"lskel: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
