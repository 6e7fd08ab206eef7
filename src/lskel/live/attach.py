"""Attaching what attaches by itself: programs whose section names say all that is needed."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from lskel.bpf.enums import ProgType
from lskel.bpf.names import enum_name
from lskel.errors import LskelError, NotFound, UsageError, at
from lskel.object.sections import parse_section
from lskel.replay.loaded import Loaded
from lskel.runtime import links
from lskel.runtime.objects import Fd
from lskel.runtime.permissions import why_refused
from lskel.runtime.syscall import KernelError
from lskel.trace import ProgLoad


@dataclass(frozen=True, slots=True)
class Attached:
    """A program and what it is attached to; closing the link detaches it."""

    program: str
    target: str
    link: Fd


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
        """Detach everything."""
        for item in self.attached:
            item.link.close()

    def __enter__(self) -> Links:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def attach_all(loaded: Loaded, interfaces: Mapping[str, str] | None = None) -> Links:
    """Attach every program that can be; XDP programs to the interfaces given by program name.

    All or nothing: LskelError names the program that the kernel refuses to attach.
    """
    wanted = dict(interfaces or {})
    attached: list[Attached] = []
    skipped: list[NotAttached] = []
    try:
        for slot, made in enumerate(loaded.trace.programs):
            op = loaded.trace.prog_load(slot)
            if op is None:
                if made.name in wanted:
                    raise UsageError(
                        f"program '{made.name}' is not loaded: its section begins with '?'"
                    )
                skipped.append(NotAttached(made.name, "not loaded: its section begins with '?'"))
                continue
            fd = loaded.programs[made.name].fd.fileno()
            interface = wanted.pop(made.name, None)
            with at(f"program '{made.name}'"):
                if interface is not None:
                    attached.append(_to_interface(made.name, op, fd, interface))
                    continue
                target = parse_section(made.section).target
                if links.can_attach(op.type, op.expected_attach_type, target):
                    attached.append(_by_itself(made.name, made.section, op, fd, target))
                else:
                    skipped.append(NotAttached(made.name, _reason(op, target)))
        if wanted:
            raise NotFound(f"there is no program '{next(iter(wanted))}' to attach")
    except BaseException:
        Links(tuple(attached), ()).close()
        raise
    return Links(tuple(attached), tuple(skipped))


def _by_itself(name: str, section: str, op: ProgLoad, fd: int, target: str) -> Attached:
    try:
        return Attached(name, section, links.attach(fd, op.type, op.expected_attach_type, target))
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


def _reason(op: ProgLoad, target: str) -> str:
    kind = enum_name(ProgType, op.type)
    if op.type == ProgType.XDP:
        return "needs an interface: --attach PROGRAM=INTERFACE"
    if not target and links.can_attach(op.type, op.expected_attach_type, "category/name"):
        return "its section name says no target"
    return f"programs of type {kind} do not attach by themselves"
