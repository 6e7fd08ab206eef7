"""The types of programs that are tail-called, where their section names give none.

The kernel lets a prog array have programs of one type only: that of those which use it, with the
same attach type and flags. Other loaders give such programs sections without a type: iproute2's
``1/2``, cilium/ebpf's ``perf_event/name``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from lskel.bpf.enums import AttachType, MapType, ProgType
from lskel.object.model import MapRef, MapSpec, ProgramSpec

# The kernel follows no more (MAX_TAIL_CALL_CNT): what an array's values use may have another array.
_MAX_CHAIN = 33


class _Kind(NamedTuple):
    """What programs of one prog array have in common, as fields of SectionSpec."""

    prog_type: ProgType
    attach_type: AttachType | None
    sleepable: bool
    xdp_frags: bool


def with_types(maps: Sequence[MapSpec], programs: Sequence[ProgramSpec]) -> tuple[ProgramSpec, ...]:
    """The programs; those without a type that are values of a prog array get that of its users.

    Where nothing says one type, they stay as they are.
    """
    typed = {program.name: program for program in programs}
    values = {
        index: [slot.name for slot in a_map.slots if slot.name in typed]
        for index, a_map in enumerate(maps)
        if a_map.type == MapType.PROG_ARRAY and a_map.slots
    }
    members = {index: set(names) for index, names in values.items()}
    for program in programs:
        for ref in program.function.relocations:
            if isinstance(ref, MapRef) and ref.map in members:
                members[ref.map].add(program.name)
    # Subprograms may be what uses an array.
    everyone = {_kind(program) for program in programs}
    for _ in range(_MAX_CHAIN if members else 0):
        for index, names in members.items():
            kinds = {_kind(typed[name]) for name in names} - {None} or everyone - {None}
            if len(kinds) == 1:
                _give(typed, values[index], kinds.pop())
    return tuple(typed[program.name] for program in programs)


def _give(typed: dict[str, ProgramSpec], names: Sequence[str], kind: _Kind | None) -> None:
    for name in names:
        spec = typed[name].spec
        if kind is not None and spec.prog_type == ProgType.UNSPEC:
            typed[name] = replace(typed[name], spec=spec._replace(**kind._asdict()))


def _kind(program: ProgramSpec) -> _Kind | None:
    """None where there is no type, or it says too little: the kernel wants a target as well."""
    spec = program.spec
    if spec.prog_type == ProgType.UNSPEC or spec.btf_target is not None:
        return None
    return _Kind(spec.prog_type, spec.attach_type, spec.sleepable, spec.xdp_frags)
