"""Loads and stores (RFC 9669 sections 5.1, 5.2 and 5.4)."""

from __future__ import annotations

from lskel.bpf import insn as i
from lskel.bpf.insn import Pseudo
from lskel.errors import at
from lskel.replay.simulator.interpreter.arithmetic import signed
from lskel.replay.simulator.interpreter.step import (
    MASK,
    Families,
    Family,
    InsnForm,
    Registers,
    Site,
    Step,
    only,
)

SIZES = {code: size for size, code in i.SIZE_CODE.items()}
# DW has all bits of the field.
_SIZE_BITS = i.DW


def families() -> Families:
    """Opcodes of the classes LDX, ST and STX, except atomics, and ld_imm64."""
    for code, size in SIZES.items():
        yield i.LDX | i.MEM | code, only(InsnForm(load, "dst src off", "dst"))
        yield i.STX | i.MEM | code, only(InsnForm(store, "dst src off"))
        yield i.ST | i.MEM | code, only(InsnForm(_store_number, "dst off imm"))
        if size < 8:
            yield i.LDX | i.MEMSX | code, only(InsnForm(_load_signed, "dst src off", "dst"))
    yield i.OP_LD_IMM64, Family("src", _WIDE)


def size_of(op: int) -> int:
    """The access size of a load or store in bytes."""
    return SIZES[op & _SIZE_BITS]


def load(site: Site) -> Step:
    """dst = *(unsigned *)(src + off)."""
    op, dst, src, off, _ = site.insn
    size, read = size_of(op), site.machine.memory.load
    following = site.next

    def step(r: Registers) -> int:
        r[dst] = read(r[src] + off & MASK, size)
        return following

    return step


def _load_signed(site: Site) -> Step:
    op, dst, src, off, _ = site.insn
    size, read = size_of(op), site.machine.memory.load
    following, bits = site.next, 8 * size

    def step(r: Registers) -> int:
        r[dst] = signed(read(r[src] + off & MASK, size), bits) & MASK
        return following

    return step


def store(site: Site) -> Step:
    """*(unsigned *)(dst + off) = src."""
    op, dst, src, off, _ = site.insn
    size, write = size_of(op), site.machine.memory.store
    following = site.next

    def step(r: Registers) -> int:
        write(r[dst] + off & MASK, size, r[src])
        return following

    return step


def _store_number(site: Site) -> Step:
    op, dst, _, off, number = site.insn
    size, write = size_of(op), site.machine.memory.store
    following = site.next

    def step(r: Registers) -> int:
        write(r[dst] + off & MASK, size, number)
        return following

    return step


def _constant(site: Site) -> Step:
    return _wide(site, site.wide << 32 | site.insn.imm & 0xFFFFFFFF)


def _function(site: Site) -> Step:
    return _wide(site, site.machine.address_of(site.at + 1 + site.insn.imm))


def _resolved(site: Site) -> Step:
    pseudo = Pseudo(site.insn.src)
    with at(f"instruction {site.at}"):
        address = site.machine.resolve(pseudo, site.insn.imm, site.wide)
    return _wide(site, address & MASK)


def _wide(site: Site, value: int) -> Step:
    dst, following = site.insn.dst, site.next

    def step(r: Registers) -> int:
        r[dst] = value
        return following

    return step


_WIDE: dict[int, InsnForm] = {
    Pseudo.IMM64: InsnForm(_constant, "dst src imm wide", "dst"),
    Pseudo.MAP_FD: InsnForm(_resolved, "dst src imm", "dst"),
    Pseudo.MAP_VALUE: InsnForm(_resolved, "dst src imm wide", "dst"),
    Pseudo.BTF_ID: InsnForm(_resolved, "dst src imm wide", "dst"),
    Pseudo.FUNC: InsnForm(_function, "dst src imm", "dst"),
    Pseudo.MAP_IDX: InsnForm(_resolved, "dst src imm", "dst"),
    Pseudo.MAP_IDX_VALUE: InsnForm(_resolved, "dst src imm wide", "dst"),
}
