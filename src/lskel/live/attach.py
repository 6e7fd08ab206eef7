"""Attaching what attaches by itself: programs whose section names say all that is needed."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from lskel.bpf.enums import ProgType
from lskel.bpf.names import enum_name
from lskel.bpf.struct_ops import F_LINK
from lskel.errors import LskelError, NotFound, UsageError, at
from lskel.object.sections import parse_section
from lskel.replay import struct_ops
from lskel.replay.kernel_btf import KernelBtf
from lskel.replay.loaded import Loaded
from lskel.runtime import links
from lskel.runtime.objects import Fd
from lskel.runtime.permissions import why_refused
from lskel.runtime.struct_ops import Registration, register
from lskel.runtime.syscall import KernelError
from lskel.trace import Input, ProgLoad, ProgramResult, StructOpsMap


@dataclass(frozen=True, slots=True)
class Attached:
    """A program, or a struct_ops map, and what it is attached to; closing the link detaches it."""

    program: str
    target: str
    link: Fd | Registration


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
    interfaces: Mapping[str, str] | None = None,
    targets: Mapping[str, str] | None = None,
) -> Links:
    """Attach every program that can be, and register struct_ops.

    XDP programs go to the interfaces given by program name; `targets`, by program name, are for
    programs whose section's name says none. All or nothing: LskelError names the program or map
    that the kernel refuses to attach.
    """
    wanted = dict(interfaces or {})
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
            fd = loaded.programs[made.name].fd.fileno()
            interface = wanted.pop(made.name, None)
            with at(f"program '{made.name}'"):
                if made.name in loaded.links:
                    attached.append(Attached(made.name, made.section, loaded.links[made.name]))
                elif interface is not None:
                    attached.append(_to_interface(made.name, op, fd, interface))
                elif op.type != ProgType.STRUCT_OPS:  # which their maps attach
                    _by_itself(made, op, fd, (targets or {}).get(made.name), attached, skipped)
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


def _by_itself(
    made: ProgramResult,
    op: ProgLoad,
    fd: int,
    given: str | None,
    attached: list[Attached],
    skipped: list[NotAttached],
) -> None:
    # Its index among the members of the kernel's struct, where it is no constant.
    assert not isinstance(op.expected_attach_type, Input)
    target = given or parse_section(made.section).target
    if not links.can_attach(op.type, op.expected_attach_type, target):
        skipped.append(NotAttached(made.name, _reason(op, op.expected_attach_type, target)))
        return
    where = made.section if given is None else f"{made.section.partition('/')[0]}/{given}"
    with _hinted():
        link = links.attach(fd, op.type, op.expected_attach_type, target)
    attached.append(Attached(made.name, where, link))


def _registered(loaded: Loaded, item: StructOpsMap) -> Attached:
    made = loaded.maps[loaded.trace.maps[item.slot].name]
    programs = {name: program.fd.fileno() for name, program in loaded.programs.items()}
    by_link = bool(loaded.trace.map_create(item.slot).flags & F_LINK)
    with at(f"map '{made.name}'"), _hinted():
        value = struct_ops.value(KernelBtf(), item.ops, programs)
        try:
            link = register(made.fd.fileno(), value, by_link=by_link)
        except KernelError as error:
            error.hint = f"leave it out: --no-autoload {made.name}"
            raise
    return Attached(made.name, f"struct_ops/{item.ops.type}", link)


@contextmanager
def _hinted() -> Iterator[None]:
    try:
        yield
    except KernelError as error:
        if error.errno == errno.EPERM:
            raise LskelError(f"cannot attach: {error.what}", hint=why_refused()) from error
        raise


def _to_interface(name: str, op: ProgLoad, fd: int, interface: str) -> Attached:
    if op.type != ProgType.XDP:
        raise UsageError(
            f"a program of type {enum_name(ProgType, op.type)} is not attached to an interface"
        )
    try:
        number = socket.if_nametoindex(interface)
    except OSError as error:
        raise NotFound(f"there is no network interface '{interface}'") from error
    return Attached(name, f"xdp on {interface}", links.attach_xdp(fd, number))


def _reason(op: ProgLoad, attach_type: int, target: str) -> str:
    kind = enum_name(ProgType, op.type)
    if op.type == ProgType.XDP:
        return "needs an interface: --attach PROGRAM=INTERFACE"
    if not target and links.can_attach(op.type, attach_type, "category/name"):
        return "its section name says no target"
    return f"programs of type {kind} do not attach by themselves"
