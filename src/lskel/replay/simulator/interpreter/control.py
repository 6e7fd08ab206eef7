"""Jumps, calls and exit (RFC 9669 section 4.3), and Linux's `gotox` and `may_goto`."""

from __future__ import annotations

from collections.abc import Callable

from lskel.bpf import insn as i
from lskel.bpf.insn import CallKind
from lskel.replay.simulator.interpreter.arithmetic import Condition, conditions, mask
from lskel.replay.simulator.interpreter.fault import Illegal
from lskel.replay.simulator.interpreter.step import (
    EXIT,
    MASK,
    SCRATCH,
    Families,
    Family,
    InsnForm,
    Registers,
    Site,
    Step,
    only,
)

_CLASSES = {i.JMP: 64, i.JMP32: 32}


def families() -> Families:
    """Opcodes of the classes JMP and JMP32."""
    for cls, bits in _CLASSES.items():
        for code, condition in conditions(bits).items():
            yield (
                cls | code | i.X,
                only(InsnForm(_register(condition, bits), "dst src off", jumps="off")),
            )
            yield (
                cls | code | i.K,
                only(InsnForm(_number(condition, bits), "dst off imm", jumps="off")),
            )
    yield i.JMP | i.JA, only(InsnForm(_always, "off", jumps="off"))
    yield i.JMP32 | i.JA, only(InsnForm(_always_far, "imm", jumps="imm"))
    yield i.OP_GOTOX, only(InsnForm(_indirect, "dst"))
    yield i.OP_MAY_GOTO, only(InsnForm(_may_goto, "off", jumps="off"))
    yield i.OP_EXIT, only(InsnForm(_exit))
    yield i.OP_CALL, Family("src", _CALLS)


def trap(reason: str) -> Step:
    """The step of an instruction that cannot be executed."""

    def step(_: Registers) -> int:
        raise Illegal(reason)

    return step


def _register(condition: Condition, bits: int) -> Callable[[Site], Step]:
    ones = mask(bits)

    def make(site: Site) -> Step:
        _, dst, src, off, _ = site.insn
        following = site.next
        target = following + off

        def step(r: Registers) -> int:
            return target if condition(r[dst] & ones, r[src] & ones) else following

        return step

    return make


def _number(condition: Condition, bits: int) -> Callable[[Site], Step]:
    ones = mask(bits)

    def make(site: Site) -> Step:
        _, dst, _, off, imm = site.insn
        number = imm & ones
        following = site.next
        target = following + off

        def step(r: Registers) -> int:
            return target if condition(r[dst] & ones, number) else following

        return step

    return make


def _always(site: Site) -> Step:
    return _goto(site.next + site.insn.off)


def _always_far(site: Site) -> Step:
    return _goto(site.next + site.insn.imm)


def _goto(target: int) -> Step:
    return lambda _: target


def _indirect(site: Site) -> Step:
    machine, dst = site.machine, site.insn.dst
    return lambda r: machine.index_of(r[dst])


def _may_goto(site: Site) -> Step:
    may_repeat, following = site.machine.may_repeat, site.next
    target = following + site.insn.off
    return lambda _: following if may_repeat() else target


def _exit(_: Site) -> Step:
    return _goto(EXIT)


def _call_helper(site: Site) -> Step:
    helper = site.machine.helpers.get(site.insn.imm)
    return _call(site, helper) if helper else trap("unknown helper")


def _call_kfunc(site: Site) -> Step:
    kfunc = site.machine.kfuncs.get((site.insn.imm, site.insn.off))
    return _call(site, kfunc) if kfunc else trap("unknown kfunc")


def _call(site: Site, function: Callable[..., int]) -> Step:
    machine, following = site.machine, site.next

    def step(r: Registers) -> int:
        r[0] = function(machine, *r[1:6]) & MASK
        r[1:6] = SCRATCH
        return following

    return step


def _call_subprogram(site: Site) -> Step:
    enter, following = site.machine.enter, site.next
    target = following + site.insn.imm

    def step(r: Registers) -> int:
        r[0] = enter(target, r[1:6])
        r[1:6] = SCRATCH
        return following

    return step


_CALLS: dict[int, InsnForm] = {
    CallKind.HELPER: InsnForm(_call_helper, "src imm"),
    CallKind.SUBPROGRAM: InsnForm(_call_subprogram, "src imm"),
    CallKind.KFUNC: InsnForm(_call_kfunc, "src off imm"),
}
