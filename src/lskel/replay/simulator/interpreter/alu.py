"""Arithmetic instructions (RFC 9669 sections 4.1 and 4.2), and Linux's casts of addresses."""

from __future__ import annotations

from collections.abc import Callable

from lskel.bpf import insn as i
from lskel.replay.simulator.interpreter.arithmetic import Binary, mask, operations, swap
from lskel.replay.simulator.interpreter.control import trap
from lskel.replay.simulator.interpreter.step import (
    Families,
    Family,
    InsnForm,
    Registers,
    Site,
    Step,
    only,
)

_CLASSES = {i.ALU64: 64, i.ALU: 32}
_SWAPS = (16, 32, 64)


def families() -> Families:
    """Opcodes of the classes ALU and ALU64."""
    for cls, bits in _CLASSES.items():
        for code, by_offset in operations(bits).items():
            with_register = {
                off: InsnForm(_register(function, bits), "dst src off", "dst")
                for off, function in by_offset.items()
            }
            with_number = {
                off: InsnForm(_number(function, bits), "dst off imm", "dst")
                for off, function in by_offset.items()
                # Only a register can be sign-extended.
                if code != i.MOV or off == 0
            }
            if cls | code == i.ALU64 | i.MOV:
                with_register[i.ADDR_SPACE_CAST] = InsnForm(_cast, "dst src off imm", "dst")
            yield cls | code | i.X, Family("off", with_register)
            yield cls | code | i.K, Family("off", with_number)
        yield cls | i.NEG | i.K, only(InsnForm(_negate(bits), "dst", "dst"))
    yield i.ALU | i.END | i.K, _swaps(_to_little)
    yield i.ALU | i.END | i.X, _swaps(_to_big)
    yield i.ALU64 | i.END | i.K, _swaps(_swap)


def _register(function: Binary, bits: int) -> Callable[[Site], Step]:
    ones = mask(bits)

    def make(site: Site) -> Step:
        _, dst, src, _, _ = site.insn
        following = site.next

        def step(r: Registers) -> int:
            r[dst] = function(r[dst] & ones, r[src] & ones) & ones
            return following

        return step

    return make


def _number(function: Binary, bits: int) -> Callable[[Site], Step]:
    ones = mask(bits)

    def make(site: Site) -> Step:
        dst, number = site.insn.dst, site.insn.imm & ones
        following = site.next

        def step(r: Registers) -> int:
            r[dst] = function(r[dst] & ones, number) & ones
            return following

        return step

    return make


def _cast(site: Site) -> Step:
    """To the kernel: the low half of an address. To an arena: as user space has it, or NULL."""
    _, dst, src, _, imm = site.insn
    if imm not in (i.TO_KERNEL, i.TO_ARENA):
        return trap(f"unknown address spaces {imm:#x}")
    following, ones = site.next, mask(32)
    high = site.machine.arena & ~ones if imm == i.TO_ARENA else 0

    def step(r: Registers) -> int:
        low = r[src] & ones
        r[dst] = high | low if low else 0
        return following

    return step


def _negate(bits: int) -> Callable[[Site], Step]:
    ones = mask(bits)

    def make(site: Site) -> Step:
        dst = site.insn.dst
        following = site.next

        def step(r: Registers) -> int:
            r[dst] = -r[dst] & ones
            return following

        return step

    return make


def _swaps(make: Callable[[Site], Step]) -> Family:
    return Family("imm", {bits: InsnForm(make, "dst imm", "dst") for bits in _SWAPS})


def _to_little(site: Site) -> Step:
    return _cut(site) if site.machine.memory.order == "little" else _swap(site)


def _to_big(site: Site) -> Step:
    return _cut(site) if site.machine.memory.order == "big" else _swap(site)


def _cut(site: Site) -> Step:
    dst, ones = site.insn.dst, mask(site.insn.imm)
    following = site.next

    def step(r: Registers) -> int:
        r[dst] &= ones
        return following

    return step


def _swap(site: Site) -> Step:
    dst, bits = site.insn.dst, site.insn.imm
    following = site.next

    def step(r: Registers) -> int:
        r[dst] = swap(r[dst], bits)
        return following

    return step
