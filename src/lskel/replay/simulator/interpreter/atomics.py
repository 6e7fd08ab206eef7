"""Atomic instructions (RFC 9669 section 5.3), and Linux's ordered loads and stores.

One program runs at a time, so each is a load and a store.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from lskel.bpf import insn as i
from lskel.replay.simulator.interpreter.access import SIZES, load, size_of, store
from lskel.replay.simulator.interpreter.arithmetic import Binary, mask
from lskel.replay.simulator.interpreter.step import (
    MASK,
    Families,
    Family,
    InsnForm,
    Registers,
    Site,
    Step,
)

# Immediates: an operation, optionally with FETCH, or one of the others.
FETCH = 0x01
XCHG, CMPXCHG = 0xE0 | FETCH, 0xF0 | FETCH
# Linux 6.15 (uapi/linux/bpf.h); not in RFC 9669.
LOAD_ACQUIRE, STORE_RELEASE = 0x100, 0x110

_UPDATES: Mapping[int, Binary] = {
    i.ADD: operator.add,
    i.OR: operator.or_,
    i.AND: operator.and_,
    i.XOR: operator.xor,
}


def families() -> Families:
    """Opcodes of the mode ATOMIC."""
    for code, size in SIZES.items():
        forms = _ORDERED | _UPDATING if size >= 4 else _ORDERED
        yield i.STX | i.ATOMIC | code, Family("imm", forms)


def _update(function: Binary) -> Callable[[Site], Step]:
    def make(site: Site) -> Step:
        op, dst, src, off, _ = site.insn
        size, read, write = size_of(op), site.machine.memory.load, site.machine.memory.store
        following = site.next

        def step(r: Registers) -> int:
            address = r[dst] + off & MASK
            write(address, size, function(read(address, size), r[src]))
            return following

        return step

    return make


def _fetch(function: Binary) -> Callable[[Site], Step]:
    def make(site: Site) -> Step:
        op, dst, src, off, _ = site.insn
        size, read, write = size_of(op), site.machine.memory.load, site.machine.memory.store
        following = site.next

        def step(r: Registers) -> int:
            address = r[dst] + off & MASK
            old = read(address, size)
            write(address, size, function(old, r[src]))
            r[src] = old
            return following

        return step

    return make


def _compare(site: Site) -> Step:
    op, dst, src, off, _ = site.insn
    size, read, write = size_of(op), site.machine.memory.load, site.machine.memory.store
    following, ones = site.next, mask(8 * size)

    def step(r: Registers) -> int:
        address = r[dst] + off & MASK
        old = read(address, size)
        # Written in either case, so it must be writable.
        write(address, size, r[src] if old == r[0] & ones else old)
        r[0] = old
        return following

    return step


def _exchanged(_: int, new: int) -> int:
    return new


_FIELDS = "dst src off imm"
_ORDERED = {
    LOAD_ACQUIRE: InsnForm(load, _FIELDS, "dst"),
    STORE_RELEASE: InsnForm(store, _FIELDS),
}
_UPDATING = {
    **{code: InsnForm(_update(function), _FIELDS) for code, function in _UPDATES.items()},
    **{
        code | FETCH: InsnForm(_fetch(function), _FIELDS, "src")
        for code, function in _UPDATES.items()
    },
    XCHG: InsnForm(_fetch(_exchanged), _FIELDS, "src"),
    CMPXCHG: InsnForm(_compare, _FIELDS),
}
