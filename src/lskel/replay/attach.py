"""Attaching all programs of a collection: to given targets, or by section names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lskel.bpf.enums import ProgType
from lskel.bpf.names import enum_name
from lskel.catalog.attach_kinds import AttachTarget, attach_kind_row
from lskel.errors import UsageError, at
from lskel.runtime.attach.probe import ProbeProgram
from lskel.runtime.attach.probe_ways import probe_row
from lskel.runtime.collection import Collection
from lskel.runtime.maps.struct_ops import StructOpsMap
from lskel.runtime.program import Program

if TYPE_CHECKING:
    from lskel.runtime.attach.link import Link


@dataclass(frozen=True, slots=True)
class Attached:
    """A program or struct_ops map, and its attach target."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class NotAttached:
    """A program that is loaded but not attached, and why."""

    name: str
    reason: str


def attach_all(
    bpf: Collection, targets: Mapping[str, str] | None = None
) -> tuple[tuple[Attached, ...], tuple[NotAttached, ...]]:
    """Attach every program that can be attached, and register struct_ops.

    `targets` are attach targets by program name: an interface, the path of a cgroup or network
    namespace, a function (see `AttachTarget`); for probes also a section name, such as
    "uretprobe/libc.so.6:malloc". All or nothing: errors as for `Collection.attach`.
    Returns what is attached and what is not.
    """
    before = list(bpf.links)
    attached: list[Attached] = []
    try:
        for name, target in (targets or {}).items():
            program = bpf.progs[name]
            with at(f"program '{name}'"):
                attached.append(Attached(name, attach_to(program, target)))
        bpf.attach()
    except BaseException:
        bpf.links.close(keep=before)
        raise
    skipped: list[NotAttached] = []
    for program in bpf.progs:
        if program.name in (targets or {}):
            continue
        if bpf.links.has(program.name):
            attached.append(Attached(program.name, _section(program)))
        # struct_ops programs are attached by their maps.
        elif not program.loaded or program.definition.type != ProgType.STRUCT_OPS:
            skipped.append(NotAttached(program.name, _reason(program)))
    for made in bpf.maps:
        if isinstance(made, StructOpsMap):
            attached.append(Attached(made.name, f"struct_ops/{made.ops.type}"))
    return tuple(attached), tuple(skipped)


def attach_to(program: Program, target: str) -> str:
    """Attach a program to a target by name; return the target in words.

    The target of a probe may be a whole section name. UsageError if programs of its kind have no
    named target.
    """
    if isinstance(program, ProbeProgram) and probe_row(target) is not None:
        program.attach_as(target)
        return " on ".join(target.split("/", 1))
    kind = _target(program)
    if kind is None:
        raise UsageError(f"programs of type {_type(program)} have no named attach target")
    if kind is AttachTarget.FUNCTION and "/" in target:
        raise UsageError(
            f"'{target}' is not a kernel function",
            hint="before / comes a kind of probe: kprobe, uprobe, usdt, or one of their variants",
        )
    if kind.in_section:
        program.definition = program.definition._replace(target=target)
        program.attach()
    else:
        attach: Callable[[str], Link] = program.attach  # type: ignore[assignment]
        attach(target)
    return f"{program.definition.kind or _type(program)} on {target}"


def _section(program: Program) -> str:
    kind = program.definition.kind
    return program.definition.section if program.target is None else f"{kind}/{program.target}"


def _reason(program: Program) -> str:
    if not program.loaded:
        return "not loaded: autoload disabled"
    target = _target(program)
    if target is None:
        return f"programs of type {_type(program)} do not auto-attach"
    return f"needs {target.what}: --attach PROGRAM={target.metavar}"


def _target(program: Program) -> AttachTarget | None:
    made = program.definition
    row = attach_kind_row(made.kind, made.type, made.attach_type)
    return None if row is None else row.target


def _type(program: Program) -> str:
    return enum_name(ProgType, program.definition.type)
