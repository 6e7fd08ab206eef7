"""Registers in words: their value and its origin."""

from __future__ import annotations

import re

from lskel.verifier.causes import STALE, UNSET, Match
from lskel.verifier.explanation import Register
from lskel.verifier.locations import Locations
from lskel.verifier.program import VerifiedProgram
from lskel.verifier.values import SCALAR, STACK, Value, meaning
from lskel.verifier.walk import (
    ARGUMENTS,
    FRAME_POINTER,
    Origin,
    OriginKind,
    WalkStep,
    origin,
    read_by,
    value,
    value_after,
)

_MOST = 3
# Causes for which the number added to a pointer matters.
_BY_OFFSET = ("unbounded-access", "out-of-bounds", "negative-index", "packet-bounds")
_NAMED = re.compile(r"\bR(\d{1,3})\b")
_POINTERS_TO_MAPS = ("map_value", "map_key", "map_ptr")


class Registers:
    """Describes the registers of one log, of a program if available."""

    def __init__(self, places: Locations, program: VerifiedProgram | None) -> None:
        self._places = places
        self._program = program

    def told(
        self, step: WalkStep, messages: tuple[str, ...], found: Match | None
    ) -> tuple[Register, ...]:
        """The relevant registers of a step that fails: those in the messages come first."""
        named = [int(number) for text in messages for number in _NAMED.findall(text)]
        if not named and found and "arg" in found.slots:
            named = argument(messages[found.number], int(found.slots["arg"]))
        named += read_by(step.insn)
        wanted = [(step, number) for number in dict.fromkeys(named) if number != FRAME_POINTER]
        if wanted and found and found.cause.id in _BY_OFFSET:
            wanted[1:1] = _added(*wanted[0])
        return tuple(self._register(at, number, found) for at, number in wanted[:_MOST])

    def _register(self, step: WalkStep, number: int, found: Match | None) -> Register:
        come = origin(step, number)
        cause = found.cause.id if found and found.slots.get("reg") == str(number) else ""
        held = None if cause == UNSET else value(step, number)
        tense = ""
        if cause == STALE and come.step is not None and (held := value_at_origin(come)):
            held, tense = held._replace(or_null=False), "was "
        told = [] if held is None else [tense + meaning(held, self._map_name(held, come))]
        if step.insn.text.startswith("call ") and number in ARGUMENTS:
            told.insert(0, f"argument {number}")
        spot = None if come.step is None else self._places.at(come.step)
        return Register(f"R{number}", ", ".join(told), self._came(held, come), spot)

    def _came(self, held: Value | None, come: Origin) -> str:
        """The origin of a value, in words; empty if it says nothing new."""
        if come.kind is OriginKind.CALL:
            return f"from {_function(come)}"
        if come.kind is OriginKind.LOST:
            lost_by = f"the call to {_function(come)}" if come.what else "the packet read"
            return f"not kept across {lost_by}"
        if come.kind is OriginKind.LOAD:
            return "loaded"
        if come.kind is OriginKind.CONSTANT and come.step is not None:
            variable = self._program.variable(come.step.insn.number) if self._program else ""
            return f"the address of '{variable}'" if variable else ""
        if come.step is not None and come.what:
            return f"passed to the callback by {come.what}"
        is_told = held is None or held.kind in ("ctx", STACK)
        return "" if is_told or come.register not in ARGUMENTS else "from the caller"

    def _map_name(self, held: Value, come: Origin) -> str:
        """The map of a pointer to a value, from the call that looked it up."""
        if held.name or held.kind not in _POINTERS_TO_MAPS:
            return held.name
        if come.kind is OriginKind.CALL and come.step is not None:
            come = origin(come.step, 1)
        if come.kind is not OriginKind.CONSTANT or come.step is None:
            return ""
        name = self._program.map_name(come.step.insn.number) if self._program else ""
        loaded = value_at_origin(come)
        return name or (loaded.name if loaded else "")


def value_at_origin(come: Origin) -> Value | None:
    """The value that a register got at its origin; None if the log does not have it."""
    return None if come.step is None else value_after(come.step, come.register)


def was_pointer(come: Origin) -> bool:
    """Whether a call or load returned a pointer, changed since by additions only."""
    adds = all(step.insn.text.startswith("r") and " += " in step.insn.text for step in come.changed)
    if not adds or come.kind not in (OriginKind.CALL, OriginKind.LOAD):
        return False
    first = value_at_origin(come)
    return first is not None and first.kind != SCALAR


def is_signed(come: Origin) -> bool:
    """Whether a number was sign-extended."""
    return any(" s>>= " in step.insn.text or "(s" in step.insn.text for step in come.changed)


def _function(come: Origin) -> str:
    return "a function" if come.what.startswith("pc") else come.what


def argument(message: str, number: int) -> list[int]:
    """The register of an argument, which some messages count from 0 and others from 1.

    For ``arg #`` that depends on the kernel.
    """
    if f"arg#{number}" in message or f"trusted arg{number}" in message:
        return [number + 1]
    return [number] if f"helper arg{number}" in message else []


def _added(step: WalkStep, pointer: int) -> list[tuple[WalkStep, int]]:
    """The register last added to a pointer, with the step of the addition."""
    for at in origin(step, pointer).changed:
        if " += r" in at.insn.text:
            return [(at, read_by(at.insn)[-1])]
    return []
