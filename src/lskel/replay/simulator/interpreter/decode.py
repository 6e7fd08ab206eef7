"""Decoding a program once: a step for each instruction."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import TYPE_CHECKING

from lskel import budget
from lskel.bpf import insn as i
from lskel.bpf.disasm import REGISTERS
from lskel.bpf.insn import Insn
from lskel.errors import BadInput
from lskel.replay.simulator.interpreter import access, alu, atomics, control
from lskel.replay.simulator.interpreter.control import trap
from lskel.replay.simulator.interpreter.fault import Illegal
from lskel.replay.simulator.interpreter.step import Family, InsnForm, Registers, Site, Step

if TYPE_CHECKING:
    from lskel.replay.simulator.machine import Interpreter

_FRAME_POINTER = 10

_FAMILIES: dict[int, Family] = {
    **dict(alu.families()),
    **dict(access.families()),
    **dict(atomics.families()),
    **dict(control.families()),
}


def decode(code: bytes, machine: Interpreter) -> dict[int, Step]:
    """The step of each instruction by its index; BadInput for an incomplete instruction.

    An invalid instruction is not an error here: its step raises when it is reached.
    """
    if not code or len(code) % i.SIZE:
        raise BadInput(f"{len(code)} bytes of code are not a whole number of instructions")
    budget.check(len(code), budget.INSNS, "bytes of code")
    sites = {site.at: site for site in _sites(code, machine)}
    return {index: _step(site, sites) for index, site in sites.items()}


def _sites(code: bytes, machine: Interpreter) -> Iterator[Site]:
    order = machine.memory.order
    slots = [i.read(code, index, order) for index in range(i.count(code))]
    index = 0
    while index < len(slots):
        insn, second, end = slots[index], None, index + 1
        # Only a second slot has opcode 0: any other opcode begins the next instruction.
        if i.is_wide(insn) and end < len(slots) and slots[end].op == 0:
            second, end = slots[end], end + 1
        yield Site(machine, insn, second, index, end)
        index = end


def _step(site: Site, starts: Container[int]) -> Step:
    family = _FAMILIES.get(site.insn.op)
    if family is None:
        return trap("unknown opcode")
    selected = getattr(site.insn, family.selector) if family.selector else 0
    form = family.forms.get(selected)
    if form is None:
        return trap(f"unknown opcode with {family.selector} {selected:#x}")
    problem = _problem(site, form)
    if problem:
        return trap(problem)
    step = form.make(site)
    if form.jumps:
        target = site.next + int(getattr(site.insn, form.jumps))
        if target not in starts:
            step = _astray(
                step, target, f"jumps to {target}, which is not the start of an instruction"
            )
    if site.next not in starts:
        step = _astray(step, site.next, "is the last instruction, but falls through")
    return step


def _problem(site: Site, form: InsnForm) -> str:
    """The error in the fields; empty if valid."""
    insn = site.insn
    for name in form.reserved:
        if getattr(insn, name):
            return f"reserved {name} is {getattr(insn, name):#x}"
    register = max(insn.dst, insn.src)
    if register >= REGISTERS:
        return f"no register r{register}"
    if form.writes and getattr(insn, form.writes) == _FRAME_POINTER:
        return f"r{_FRAME_POINTER} is read only"
    return _problem_of_second(site.second, form) if i.is_wide(insn) else ""


def _problem_of_second(second: Insn | None, form: InsnForm) -> str:
    if second is None:
        return "second slot missing"
    if any(second[1:4]):
        return "reserved fields of the second slot are not 0"
    if second.imm and "wide" not in form.uses:
        return f"reserved imm of the second slot is {second.imm:#x}"
    return ""


def _astray(step: Step, missing: int, reason: str) -> Step:
    def checked(r: Registers) -> int:
        following = step(r)
        if following == missing:
            raise Illegal(reason)
        return following

    return checked
