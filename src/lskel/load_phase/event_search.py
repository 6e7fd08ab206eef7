"""Looking for the types of events in debug information.

clang writes a struct to BTF only if a map, a global variable or a signature has it, so that of an
event is often missing; debug information has all. A type is taken from there if the code leaves no
doubt: for each call that sends to the buffer, exactly one struct has the size that the call sends,
among those of the variables of the function around it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lskel import budget
from lskel.btf.types import TypeId
from lskel.dwarf.constants import Attr, Tag
from lskel.dwarf.reader import Dwarf, Entry
from lskel.dwarf.types import TypeConverter, resolved, unqualified
from lskel.errors import BadObject, LskelError
from lskel.load_phase.events import (
    buffers,
    dwarf_of,
    types_of,
    usual_names,
    usual_type,
    with_event_types,
    with_types,
)
from lskel.load_phase.sends import Send, sends
from lskel.object.model import Object
from lskel.trace import Trace

_COMPOSITES = (Tag.STRUCTURE_TYPE, Tag.UNION_TYPE)
_VARIABLES = (Tag.VARIABLE, Tag.FORMAL_PARAMETER)


class Untyped(NamedTuple):
    """A buffer without a type of events, and the reason."""

    map: str
    why: str

    @property
    def remedy(self) -> str:
        """What to do about it."""
        option = f"--event-type {shlex.quote(f'{self.map}=EVENT')}"
        return f"name the struct: {option}, or EVENT@FILE.h if the object lacks it"


def with_found_types(trace: Trace, obj: Object) -> Trace:
    """The trace of an object, with the types of events that it names, or that its code shows."""
    trace = with_event_types(trace, obj.event_types, obj)
    search = _Search(trace, obj)
    for slot in sorted(search.slots):
        search.add(slot)
    return search.result()


def untyped_buffers(trace: Trace, obj: Object) -> tuple[Untyped, ...]:
    """The buffers of an object to which its programs send events that stay bytes."""
    search, btf = _Search(trace, obj), types_of(trace)
    return tuple(
        Untyped(trace.maps[slot].name, search.why(slot))
        for slot in sorted(search.slots)
        if search.sent[slot] and usual_type(btf, trace.maps[slot].name) is None
    )


class _Candidate(NamedTuple):
    """A struct that a variable has or points to; equal ones are one."""

    name: str
    size: int
    is_pointed_to: bool


class _Search:
    """Looks for the types of the buffers of an object that have none in BTF."""

    def __init__(self, trace: Trace, obj: Object) -> None:
        self._trace = trace
        self._dwarf = dwarf_of(obj)
        self._btf = types_of(trace)
        self._chosen = {event.slot: event.type for event in trace.events}
        self._converter = TypeConverter(trace.order, self._btf)
        self._variables: dict[int, dict[_Candidate, Entry]] = {}
        self._entries = budget.Allowance(budget.DWARF_VARIABLES, "variables in DWARF")
        numbers = {a_map.name: number for number, a_map in enumerate(obj.maps)}
        wanted = {
            numbers[name]: slot for name, slot in buffers(trace).items() if slot not in self._chosen
        }
        self.sent: dict[int, list[Send]] = {slot: [] for slot in wanted.values()}
        for send in sends(obj) if wanted else ():
            if send.map in wanted:
                self.sent[wanted[send.map]].append(send)
        self.slots = {slot for slot in wanted.values() if not self._is_usual(slot)}

    def _is_usual(self, slot: int) -> bool:
        """Whether the type by convention has the size of all events that are sent."""
        usual = usual_type(self._btf, self._trace.maps[slot].name)
        if usual is None or self._btf is None:
            return False
        sizes = {send.size for send in self.sent[slot]} - {None}
        try:
            return sizes <= {self._btf.size_of(usual)}
        except BadObject:
            return False  # it has no values

    def add(self, slot: int) -> None:
        """Take the type of a buffer from the debug information, if it is certain."""
        try:
            found = [self._fitting(slot, send) for send in self.sent[slot]]
            structs = {candidate[:2] for fitting in found for candidate in fitting}
            if len(structs) == 1 and all(found):
                self._chosen[slot] = self._type(next(iter(found[0].values())))
        except LskelError:
            return  # `why` says it

    def why(self, slot: int) -> str:
        """Why a buffer has no type, in words."""
        if self._dwarf is None:
            return "the object has no debug information"
        calls = self.sent[slot]
        if any(send.size is None for send in calls):
            return "the size of an event is not a constant"
        try:
            names = [sorted(c.name for c in self._fitting(slot, send)) for send in calls]
        except LskelError as error:
            return str(error)
        sizes = " or ".join(map(str, sorted({send.size or 0 for send in calls})))
        found = " or ".join(sorted({name for some in names for name in some}))
        if found:
            return f"events of {sizes} bytes may be {found}"
        return f"no variable near the calls has a struct of {sizes} bytes"

    def result(self) -> Trace:
        return with_types(self._trace, self._chosen, self._converter.btf)

    def _type(self, entry: Entry) -> TypeId:
        assert self._dwarf is not None
        return self._converter.add(self._dwarf, entry)

    def _fitting(self, slot: int, send: Send) -> dict[_Candidate, Entry]:
        """The types of the variables around a call that have the size of its event."""
        if send.size is None:
            return {}
        found: dict[str, tuple[_Candidate, Entry]] = {}
        for candidate, entry in self._around(send).items():
            is_possible = (
                candidate.is_pointed_to
                if send.reserves
                else not (send.from_stack and candidate.is_pointed_to)
            )
            if candidate.size == send.size and is_possible:
                found.setdefault(candidate.name, (candidate, entry))
        usual = [name for name in usual_names(self._trace.maps[slot].name) if name in found]
        names = usual[:1] or list(found)
        return dict(found[name] for name in names)

    def _around(self, send: Send) -> dict[_Candidate, Entry]:
        dwarf = self._dwarf
        if dwarf is None:
            return {}
        function = dwarf.function_at(send.function.section, 8 * (send.function.start + send.insn))
        if function is None:
            return {}
        if function.offset not in self._variables:
            scopes = _scopes(dwarf, function).values()
            self._variables[function.offset] = dict(self._candidates(dwarf, scopes))
        return self._variables[function.offset]

    def _candidates(
        self, dwarf: Dwarf, scopes: Iterable[Entry]
    ) -> Iterator[tuple[_Candidate, Entry]]:
        """The structs that variables have or point to."""
        for variable in (entry for scope in scopes for entry in scope.inside()):
            self._entries.spend()
            if variable.tag not in _VARIABLES:
                continue
            entry = unqualified(dwarf, dwarf.follow(dwarf.origin(variable), Attr.TYPE))
            is_pointer = entry is not None and entry.tag == Tag.POINTER_TYPE
            if entry is not None and is_pointer:
                entry = unqualified(dwarf, dwarf.follow(entry, Attr.TYPE))
            behind = resolved(dwarf, entry)
            if entry is not None and behind is not None and behind.tag in _COMPOSITES:
                name = dwarf.name(behind) or dwarf.name(entry)
                yield _Candidate(name, behind.number(Attr.BYTE_SIZE), is_pointer), entry


def _scopes(dwarf: Dwarf, function: Entry) -> dict[int, Entry]:
    """A function and those inlined in it, each with its abstract origin."""
    found = {}
    for entry in (function, *function.inside()):
        if entry.tag in (Tag.SUBPROGRAM, Tag.INLINED_SUBROUTINE):
            origin = dwarf.origin(entry)
            found[origin.offset] = origin
    return {function.offset: function, **found}
