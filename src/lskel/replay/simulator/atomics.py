"""Atomic instructions (RFC 9669 section 5.3), and Linux's ordered loads and stores.

One program runs at a time, so each is a load and a store.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from lskel.bpf import insn as i
from lskel.replay.simulator.access import SIZES, size_of
from lskel.replay.simulator.arithmetic import Binary, mask
from lskel.replay.simulator.step import MASK, Families, Family, Form, Registers, Site, Step, uses

# Immediates: an operation, perhaps with FETCH, or one of the others.
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
        size, load, store = size_of(op), site.machine.memory.load, site.machine.memory.store
        following = site.index + 1

        def step(r: Registers) -> int:
            address = r[dst] + off & MASK
            store(address, size, function(load(address, size), r[src]))
            return following

        return step

    return make


def _fetch(function: Binary) -> Callable[[Site], Step]:
    def make(site: Site) -> Step:
        op, dst, src, off, _ = site.insn
        size, load, store = size_of(op), site.machine.memory.load, site.machine.memory.store
        following = site.index + 1

        def step(r: Registers) -> int:
            address = r[dst] + off & MASK
            old = load(address, size)
            store(address, size, function(old, r[src]))
            r[src] = old
            return following

        return step

    return make


def _compare(site: Site) -> Step:
    op, dst, src, off, _ = site.insn
    size, load, store = size_of(op), site.machine.memory.load, site.machine.memory.store
    following, ones = site.index + 1, mask(8 * size)

    def step(r: Registers) -> int:
        address = r[dst] + off & MASK
        old = load(address, size)
        # The memory is written in either case: it must be writable.
        store(address, size, r[src] if old == r[0] & ones else old)
        r[0] = old
        return following

    return step


def _load_acquire(site: Site) -> Step:
    op, dst, src, off, _ = site.insn
    size, load = size_of(op), site.machine.memory.load
    following = site.index + 1

    def step(r: Registers) -> int:
        r[dst] = load(r[src] + off & MASK, size)
        return following

    return step


def _exchanged(_: int, new: int) -> int:
    return new


_FIELDS = uses("dst src off")
_ORDERED = {
    LOAD_ACQUIRE: Form(_load_acquire, _FIELDS, "dst"),
    STORE_RELEASE: Form(_update(_exchanged), _FIELDS),
}
_UPDATING = {
    **{code: Form(_update(function), _FIELDS) for code, function in _UPDATES.items()},
    **{code | FETCH: Form(_fetch(function), _FIELDS, "src") for code, function in _UPDATES.items()},
    XCHG: Form(_fetch(_exchanged), _FIELDS, "src"),
    CMPXCHG: Form(_compare, _FIELDS),
}
