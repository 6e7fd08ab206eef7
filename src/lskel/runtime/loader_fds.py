"""The fds that a loader returns in its context, checked before they are used or closed.

A loader may do something else than its description says. So an fd is accepted only if the kernel
reports the expected object for it, created after the loader itself.
"""

from __future__ import annotations

import sys

from lskel.bpf.attr import object_name
from lskel.bpf.enums import LinkType, MapType, ProgType
from lskel.bpf.names import enum_name
from lskel.errors import BadInput, at
from lskel.light_typing import NamedTuple
from lskel.runtime.objects import Fd, ObjectKind, identity, kind_of
from lskel.runtime.syscall import BpfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from enum import IntEnum

    from lskel.runtime.objects import Identity

_FD_SIZE = 4
# Ids are allocated in ascending order, and restart at 1 after the last (idr_alloc_cyclic in
# kernel/bpf/syscall.c).
_IDS = 1 << 31
_KINDS: dict[ObjectKind, tuple[str, type[IntEnum]]] = {
    ObjectKind.MAP: ("map", MapType),
    ObjectKind.PROG: ("program", ProgType),
    ObjectKind.LINK: ("link", LinkType),
}
_HINT = "the loader does not match its description: do not run it"


class LoaderFd(NamedTuple):
    """An fd that a loader writes to its context at `offset`.

    Of a map or program of this type and name (in the object); or of the link of the program of this
    name, which must come first.
    """

    kind: ObjectKind
    offset: int
    name: str
    type: int = 0


class LoaderIds(NamedTuple):
    """The ids of a loader's own map and program."""

    map: int
    program: int


def take_fds(context: bytearray, expected: Sequence[LoaderFd], loader: LoaderIds) -> tuple[Fd, ...]:
    """The fds of a loader after its run, in the order of `expected`.

    BadInput if one is not the expected object; then only fds that the loader created are closed.
    """
    taking = _Taking(loader)
    fds = [taking.take(item, _number(context, item.offset)) for item in expected]
    taken = tuple(fd for fd in fds if fd is not None)
    if taking.wrong is not None:
        for fd in taken:
            fd.close()
        raise taking.wrong
    return taken


def _number(context: bytearray, offset: int) -> int:
    return int.from_bytes(context[offset : offset + _FD_SIZE], sys.byteorder, signed=True)


class _Taking:
    """Takes fds one by one; `wrong` is the first error."""

    def __init__(self, loader: LoaderIds) -> None:
        self.wrong: BadInput | None = None
        self._loader = loader
        self._seen: set[int] = set()
        self._programs: dict[str, int] = {}

    def take(self, expected: LoaderFd, number: int) -> Fd | None:
        """The fd, if the loader created its object, even if that is not the `expected` one."""
        fd = None
        try:
            with at(f"{_KINDS[expected.kind][0]} '{expected.name}'"):
                found = self._new_object(number, expected)
                fd = Fd(number)
                if not self._matches(found, expected):
                    raise _returned(f"fd {number}, which is {_said(found)}")
        except BadInput as error:
            self.wrong = self.wrong or error
        else:
            if found.kind is ObjectKind.PROG:
                self._programs[expected.name] = found.id
        return fd

    def _new_object(self, number: int, expected: LoaderFd) -> Identity:
        """What the loader created; BadInput if it did not create the object of fd `number`."""
        if number <= 0:
            raise _returned(f"{number}, which is not an fd")
        if number in self._seen:
            raise _returned(f"fd {number} twice")
        self._seen.add(number)
        found = self._identity(number, expected)
        if found is None or not found.id:
            raise _returned(f"fd {number}, which is not a map, program or link")
        if not self._is_new(found):
            raise _returned(f"fd {number}, which existed before: {_said(found)}")
        return found

    def _identity(self, number: int, expected: LoaderFd) -> Identity | None:
        try:
            found = identity(number, expected.kind)
            # The info of another kind has its name elsewhere.
            if found.name and self._matches(found, expected):
                return found
            return identity(number, kind_of(number) or expected.kind)
        except BpfError:
            return None

    def _is_new(self, found: Identity) -> bool:
        """Whether it was created after the loader; for a link, whether its program was."""
        if found.kind is ObjectKind.MAP:
            return _is_after(found.id, self._loader.map)
        return _is_after(found.program or found.id, self._loader.program)

    def _matches(self, found: Identity, expected: LoaderFd) -> bool:
        if expected.kind is ObjectKind.LINK:
            return found.kind is ObjectKind.LINK and found.program == self._programs.get(
                expected.name
            )
        is_kind = (found.kind, found.type) == (expected.kind, expected.type)
        return is_kind and found.name == object_name(expected.name).decode()


def _returned(found: str) -> BadInput:
    return BadInput(f"the loader returned {found}", hint=_HINT)


def _is_after(id_: int, before: int) -> bool:
    return 0 < (id_ - before) % _IDS < _IDS // 2


def _said(found: Identity) -> str:
    kind, types = _KINDS[found.kind]
    name = f" '{found.name}'" if found.name else ""
    return f"{kind}{name} of type {enum_name(types, found.type)}"
