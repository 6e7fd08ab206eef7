"""The types of events of ring and perf buffers, which have no types of their own."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.types import TypeId
from lskel.catalog.map_types import BUFFERS
from lskel.elf.object import Elf
from lskel.errors import NotFound, WrongType, at, got, unknown
from lskel.object.model import Object
from lskel.trace import EventType, Trace

if TYPE_CHECKING:  # debug information is read only if it must be
    from lskel.dwarf.reader import Dwarf
    from lskel.dwarf.types import TypeConverter

_DEFAULT = "event"
_KINDS = (t.StructType, t.UnionType, t.Typedef, t.Enum, t.Enum64, t.Int)


def usual_names(map_name: str) -> tuple[str, ...]:
    """The names that the type of a buffer's events has by convention."""
    return (map_name, map_name.removesuffix("s"), _DEFAULT)


def find_type(btf: Btf | None, name: str) -> TypeId | None:
    """The first struct, union, typedef, enum or number of a name."""
    found = (btf.find(name, kind) for kind in _KINDS) if btf is not None else ()
    return next((type_id for type_id in found if type_id is not None), None)


def usual_type(btf: Btf | None, map_name: str) -> TypeId | None:
    """The type of a buffer's events by convention."""
    found = (find_type(btf, name) for name in usual_names(map_name))
    return next((type_id for type_id in found if type_id is not None), None)


def buffers(trace: Trace) -> dict[str, int]:
    """The slots of the ring and perf buffers, by name."""
    return {
        made.name: slot
        for slot, made in enumerate(trace.maps)
        if trace.map_create(slot).type in BUFFERS
    }


def types_of(trace: Trace) -> Btf | None:
    """BTF with the types of the object and of events."""
    raw = trace.types or trace.btf
    return None if raw is None else Btf(raw)


def dwarf_of(obj: Object | None) -> Dwarf | None:
    """The debug information of an object; None if it has none."""
    if obj is None or obj.elf is None or obj.elf.section(".debug_info") is None:
        return None
    return _dwarf(obj.elf)


@lru_cache(maxsize=1)
def _dwarf(elf: Elf) -> Dwarf:
    from lskel.dwarf.reader import Dwarf

    return Dwarf(elf)


def with_event_types(trace: Trace, given: Mapping[str, str], obj: Object | None = None) -> Trace:
    """The trace with other types of events, by name of the buffer: `Object.with_event_types`.

    With `obj` its debug information has types, too. NotFound if there is no such buffer or type,
    BadObject if the type has no values.
    """
    if not given:
        return trace
    from lskel.dwarf.types import TypeConverter

    known, btf = buffers(trace), types_of(trace)
    chosen = {event.slot: event.type for event in trace.events}
    converter = TypeConverter(trace.order, btf)
    for map_name, text in given.items():
        if map_name not in known:
            raise unknown("ring or perf buffer", map_name, known)
        if not isinstance(text, str):
            raise WrongType(f"map '{map_name}': expected the name of a type, got {got(text)}")
        name, is_in_header, header = text.partition("@")
        name = name.strip().removeprefix("struct ").removeprefix("union ").strip()
        with at(f"map '{map_name}'"):
            found = None if is_in_header else find_type(btf, name)
            if found is None:
                found = _converted(
                    converter, _header(header) if is_in_header else dwarf_of(obj), name
                )
        if found is None:
            raise NotFound(
                f"{header if is_in_header else 'BTF'} has no type '{name}' for events of map "
                f"'{map_name}'",
                hint="" if is_in_header else remedy(map_name, name),
            )
        chosen[known[map_name]] = found
    return with_types(trace, chosen, converter.btf)


def _header(path: str) -> Dwarf:
    from lskel.load_phase.headers import compile_header

    return compile_header(path)


def _converted(converter: TypeConverter, dwarf: Dwarf | None, name: str) -> TypeId | None:
    entry = dwarf.types.get(name) if dwarf is not None else None
    return None if dwarf is None or entry is None else converter.add(dwarf, entry)


def with_types(trace: Trace, chosen: Mapping[int, int], btf: Btf) -> Trace:
    """The trace with these types of events, by slot; `btf` has them."""
    events = tuple(EventType(slot, chosen[slot]) for slot in sorted(chosen))
    types = b"" if btf.raw == trace.btf or not events else btf.raw
    return replace(trace, events=events, types=types)


def remedy(map_name: str, name: str) -> str:
    """What to do about a type of events that the object lacks."""
    return (
        f"add to the C source: const struct {name} *unused __attribute__((unused)); or name it in "
        f"a header: --event-type {shlex.quote(f'{map_name}={name}@FILE.h')}"
    )
