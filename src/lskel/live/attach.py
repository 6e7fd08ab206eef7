"""Attaching what attaches by itself: programs whose section names say all that is needed."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lskel.bpf.enums import ProgType
from lskel.bpf.flags import MapFlag
from lskel.bpf.names import enum_name
from lskel.catalog.attach_kinds import AttachTarget, attach_kind_row
from lskel.errors import NotFound, UsageError, at
from lskel.object.sections import parse_section
from lskel.replay.loaded import Loaded
from lskel.runtime import kernel_struct
from lskel.runtime.attach.kinds import program_class
from lskel.runtime.attach.refusals import explained
from lskel.runtime.kernel_btf import KernelBtf
from lskel.runtime.maps.base import Map, definition_of
from lskel.runtime.objects import Fd, duplicate
from lskel.runtime.program import Program, ProgramDefinition
from lskel.runtime.struct_ops import register
from lskel.runtime.syscall import KernelError
from lskel.trace import Input, ProgLoad, ProgramResult, StructOpsMap

if TYPE_CHECKING:
    from lskel.runtime.attach.link import Link


@dataclass(frozen=True, slots=True)
class Attached:
    """A program, or a struct_ops map, and what it is attached to; closing the link detaches it."""

    program: str
    target: str
    link: Link


@dataclass(frozen=True, slots=True)
class NotAttached:
    """A program that stays loaded only, and why."""

    program: str
    reason: str


@dataclass(frozen=True, slots=True)
class Links:
    """All links of a loaded object; a context manager that detaches."""

    attached: tuple[Attached, ...]
    skipped: tuple[NotAttached, ...]

    def close(self) -> None:
        """Detach everything, the last first; all of it, even where something fails."""
        with ExitStack() as stack:
            for item in self.attached:
                stack.callback(item.link.close)

    def __enter__(self) -> Links:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def attach_all(
    loaded: Loaded,
    places: Mapping[str, str] | None = None,
    targets: Mapping[str, str] | None = None,
) -> Links:
    """Attach every program that can be, and register struct_ops.

    `places`, by program name, say where a program attaches: an interface, the path of a cgroup or
    network namespace, a function (see `AttachTarget`); those without one attach where their
    section's name says. `targets` are those that programs were loaded for. All or nothing:
    LskelError names the program or map that the kernel refuses to attach.
    """
    wanted = dict(places or {})
    maps = _maps(loaded)
    attached: list[Attached] = []
    skipped: list[NotAttached] = []
    try:
        for slot, made in enumerate(loaded.trace.programs):
            op = loaded.trace.prog_load(slot)
            if op is None or made.name not in loaded.programs:
                if made.name in wanted:
                    raise UsageError(f"program '{made.name}' is not loaded: {_why_not(made)}")
                skipped.append(NotAttached(made.name, f"not loaded: {_why_not(made)}"))
                continue
            place = wanted.pop(made.name, None)
            with at(f"program '{made.name}'"):
                if place is None and made.name in loaded.links:
                    attached.append(Attached(made.name, made.section, loaded.links[made.name]))
                    continue
                with closing(_program(made, op, loaded.programs[made.name].fd)) as program:
                    program.maps = maps
                    if place is not None:
                        attached.append(_to_place(program, place))
                    elif program.attaches_itself():
                        where = _where(made, (targets or {}).get(made.name))
                        attached.append(Attached(made.name, where, program.attach()))
                    elif op.type != ProgType.STRUCT_OPS:  # which their maps attach
                        skipped.append(NotAttached(made.name, _reason(program)))
        if wanted:
            raise NotFound(f"there is no program '{next(iter(wanted))}' to attach")
        for item in loaded.trace.struct_ops:
            attached.append(_registered(loaded, item))
    except BaseException:
        Links(tuple(attached), ()).close()
        raise
    return Links(tuple(attached), tuple(skipped))


def _why_not(program: ProgramResult) -> str:
    return "left out" if program.autoload else "left out by default"


def _maps(loaded: Loaded) -> dict[str, Map]:
    """The object's maps as programs take them."""
    maps = {}
    for name, item in loaded.maps.items():
        maps[name] = Map(definition_of(item.info(), name))
        maps[name].bind(duplicate(item.fd.fileno()))
    return maps


def _program(made: ProgramResult, op: ProgLoad, fd: Fd) -> Program:
    spec = parse_section(made.section)
    # For struct_ops it is an index among the members of the kernel's struct, not always a constant.
    attach_type = op.expected_attach_type
    number = 0 if isinstance(attach_type, Input) else attach_type
    definition = ProgramDefinition(made.name, spec.kind, spec.target, op.type, number)
    program = program_class(spec.kind, op.type, number)(definition)
    # Links are kept by the one who attaches.
    program.bind(duplicate(fd.fileno()), lambda _name, _link: None)
    return program


def _where(made: ProgramResult, target: str | None) -> str:
    return made.section if target is None else f"{made.section.partition('/')[0]}/{target}"


def _to_place(program: Program, place: str) -> Attached:
    target = _target(program)
    if target is None:
        raise UsageError(f"a program of type {_type(program)} attaches to nothing that has a name")
    if target.in_section:
        program.definition = program.definition._replace(target=place)
        link = program.attach()
    else:
        attach: Callable[..., Link] = program.attach
        link = attach(place)
    section = program.definition.kind or _type(program)
    return Attached(program.name, f"{section} on {place}", link)


def _registered(loaded: Loaded, item: StructOpsMap) -> Attached:
    made = loaded.maps[loaded.trace.maps[item.slot].name]
    programs = {name: program.fd.fileno() for name, program in loaded.programs.items()}
    by_link = bool(loaded.trace.map_create(item.slot).flags & MapFlag.LINK)
    with at(f"map '{made.name}'"), explained({}):
        value = kernel_struct.value(KernelBtf(), item.ops, programs)
        try:
            link = register(made.fd.fileno(), value, by_link=by_link)
        except KernelError as error:
            if error.errno != errno.EPERM:
                error.hint = f"leave it out: --no-autoload {made.name}"
            raise
    return Attached(made.name, f"struct_ops/{item.ops.type}", link)


def _reason(program: Program) -> str:
    target = _target(program)
    if target is None:
        return f"programs of type {_type(program)} do not attach by themselves"
    return f"needs {target.what}: --attach PROGRAM={target.metavar}"


def _target(program: Program) -> AttachTarget | None:
    made = program.definition
    row = attach_kind_row(made.kind, made.type, made.attach_type)
    return None if row is None else row.target


def _type(program: Program) -> str:
    return enum_name(ProgType, program.definition.type)
