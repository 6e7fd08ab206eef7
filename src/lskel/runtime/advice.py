"""What a collection knows of a refusal, which the kernel's errno and log do not say."""

from __future__ import annotations

import errno
import os

from lskel.bpf.enums import MapType
from lskel.bpf.names import enum_name
from lskel.bpf.poison import NO_MAP
from lskel.catalog.map_types import Range, map_type_row
from lskel.tasks import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from lskel.errors import ReplayError
    from lskel.runtime.maps.base import MapDefinition
    from lskel.tasks import Label

# A call of a kfunc that was not found has no id (kernel/bpf/verifier.c, fixup_kfunc_call).
_NO_KFUNC = "invalid kernel function call not eliminated"


# A call in place of a map that is not created (`lskel.runtime.patch`), before its slot.
_SLOT_DIGITS = 6
_NO_MAP = f"unknown#{NO_MAP // 10**_SLOT_DIGITS}"


def advise(error: ReplayError, maps: Iterable[MapDefinition], labels: Iterable[Label]) -> None:
    """Give an error a better hint, where there is one.

    `maps` are as they are created, `labels` those of the loader's operations.
    """
    label = error.label
    if label is None:
        return
    hint, made = "", list(maps)
    if label.task is Task.MAP_CREATE and error.errno == errno.EINVAL:
        named = next((item for item in made if item.name == label.name), None)
        hint = (_sizes(named) or _type(named)) if named is not None else ""
    elif label.task is Task.PROG_LOAD and _NO_MAP in error.why:
        slot = error.why.partition(_NO_MAP)[2][:_SLOT_DIGITS]
        if len(slot) == _SLOT_DIGITS and slot.isdecimal() and int(slot) < len(made):
            hint = f"it uses map '{made[int(slot)].name}', whose autocreate is False"
    elif label.task is Task.PROG_LOAD and _NO_KFUNC in error.why:
        hint = _kfuncs(label.name, labels)
    error.hint = hint or error.hint


def _sizes(made: MapDefinition) -> str:
    """What is wrong with the sizes of a map; empty where nothing is."""
    row = map_type_row(made.type)
    if row is None:
        return ""
    ranges = {"key_size": row.keys, "value_size": row.values, "max_entries": row.entries}
    sizes = {name: getattr(made, name) for name in ranges}
    unset = [name for name, size in sizes.items() if not size and not _may_be_zero(ranges[name])]
    extra = [name for name, size in sizes.items() if size and ranges[name] == (Range(0, 0),)]
    said = []
    if extra:
        given = " and ".join(f"{name} {sizes[name]}" for name in extra)
        said.append(f"this map type has none of {given}: leave them, and their types, out")
    if "max_entries" in unset:
        said.append(
            f"max_entries is 0: --max-entries {made.name}=N, or "
            f"maps['{made.name}'].max_entries = N before load()"
        )
    for name, part in (("key_size", "key"), ("value_size", "value")):
        if name in unset:
            said.append(
                f"{name} is 0: __type({part}, ...) or __uint({name}, N) in the map's definition"
            )
    return "; ".join(said)


def _type(made: MapDefinition) -> str:
    """That this kernel is older than the map's type; empty if it is not."""
    row = map_type_row(made.type)
    running = os.uname().release.replace("-", ".").split(".")[:2]
    if row is None or not all(number.isdecimal() for number in running):
        return ""
    if tuple(map(int, running)) >= row.since:
        return ""
    major, minor = row.since
    return f"maps of type {enum_name(MapType, row.type)} need Linux {major}.{minor}"


def _may_be_zero(ranges: tuple[Range, ...]) -> bool:
    return any(allowed.low == 0 for allowed in ranges)


def _kfuncs(program: str, labels: Iterable[Label]) -> str:
    """The weak kfuncs that a program calls: one that the kernel lacks is called all the same."""
    names = [
        f"'{label.name}'"
        for label in labels
        if label.task is Task.FIND_TYPE
        and label.kind == "weak func"
        and label.needed_by == f"program '{program}'"
    ]
    if not names:
        return ""
    which = f"weak kfunc {names[0]}" if len(names) == 1 else f"a weak kfunc ({', '.join(names)})"
    return (
        f"it calls {which}, which this kernel lacks, or has with another type: test it first, if "
        "(bpf_ksym_exists(...))"
    )
