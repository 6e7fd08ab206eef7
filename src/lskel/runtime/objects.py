"""Kernel objects: owned fds, object info, ids, pins."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from lskel.bpf.attr import encode, load
from lskel.bpf.enums import Cmd
from lskel.bpf.layouts import (
    ENABLE_STATS,
    GET_ID,
    INFO,
    LINK_INFO,
    MAP_INFO,
    OBJ,
    PROG_INFO,
    Layout,
)
from lskel.errors import Closed, WrongType, at
from lskel.light_typing import NamedTuple
from lskel.runtime.syscall import BpfError, address_of, bpf, calling, host_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, Protocol, TypeAlias

    # bpf(2) of a kernel; `lskel.runtime.syscall.bpf` is that of the running one.
    Bpf: TypeAlias = Callable[[int, bytearray], int]

    class Closable(Protocol):
        """Something with `close`; `closed` is set before anything is released."""

        @property
        def closed(self) -> bool: ...


# Names of tracepoints, functions, iterators and modules; the kernel truncates at 127.
_NAME_ROOM = 128


class Fd:
    """Owns a file descriptor: closes it at the end of a `with` block or when garbage collected."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """The number; Closed after `close`."""
        if self._fd < 0:
            raise Closed("the fd is closed")
        return self._fd

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._fd < 0

    def close(self) -> None:
        """Close the fd; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def release(self) -> int:
        """The number, which the caller closes from now on; Closed after `close`."""
        number = self.fileno()
        self._fd = -1
        return number

    def __enter__(self) -> Fd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise WrongType("an fd cannot be copied or pickled: both would close it")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'closed' if self.closed else self._fd})"


@contextmanager
def in_use(owner: Closable, what: str) -> Iterator[None]:
    """Raise Closed for errors in the block after another thread closed `owner`.

    Python reports that in many ways: errors of views, mappings and fds.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        if not owner.closed or isinstance(error, Closed):
            raise
        raise closed(what) from error


def closed(what: str) -> Closed:
    """The error for the use of something that is closed."""
    return Closed(f"the {what} is closed")


def duplicate(fd: int) -> Fd:
    """A duplicate of an fd, close-on-exec; KernelError if it is closed, or no fd is left."""
    with calling("dup"):
        return Fd(os.dup(fd))


def read_info(fd: int, layout: Layout, bpf: Bpf = bpf, **request: int) -> bytearray:
    """The info struct, as far as the kernel knows it."""
    size = max(offset + size for offset, size in layout.values())
    info = encode(layout, size, sys.byteorder, **request)
    attr = host_attr(INFO, "info", bpf_fd=fd, info_len=size, info=address_of(info))
    bpf(Cmd.OBJ_GET_INFO_BY_FD, attr)
    return info[: load(attr, INFO, "info_len", sys.byteorder)]


def number_in(info: bytearray, layout: Layout, field: str) -> int:
    return load(info, layout, field, sys.byteorder)


def field_in(info: bytearray, layout: Layout, field: str) -> bytearray:
    offset, size = layout[field]
    return info[offset : offset + size]


def text_in(field: bytearray) -> str:
    return field.partition(b"\0")[0].decode(errors="replace")


class ObjectKind(Enum):
    """Kinds of objects with ids: the commands for the next id, and for an fd by id."""

    PROG = (Cmd.PROG_GET_NEXT_ID, Cmd.PROG_GET_FD_BY_ID)
    MAP = (Cmd.MAP_GET_NEXT_ID, Cmd.MAP_GET_FD_BY_ID)
    BTF = (Cmd.BTF_GET_NEXT_ID, Cmd.BTF_GET_FD_BY_ID)
    LINK = (Cmd.LINK_GET_NEXT_ID, Cmd.LINK_GET_FD_BY_ID)


class Identity(NamedTuple):
    """What identifies an object: `program` is the program id of a link; links have no name."""

    kind: ObjectKind
    id: int
    type: int
    name: str
    program: int


_IDENTITY = {ObjectKind.MAP: MAP_INFO, ObjectKind.PROG: PROG_INFO, ObjectKind.LINK: LINK_INFO}
# Only the file name distinguishes maps, programs and links; their infos look alike.
_FILES = {
    "anon_inode:bpf-map": ObjectKind.MAP,
    "anon_inode:bpf-prog": ObjectKind.PROG,
    "anon_inode:bpf_link": ObjectKind.LINK,
}


def kind_of(fd: int) -> ObjectKind | None:
    """The kind of object of an fd; None if it is not a map, program or link, or without /proc."""
    try:
        return _FILES.get(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115
    except OSError:
        return None


def identity(fd: int, kind: ObjectKind) -> Identity:
    """The identity of a map, program or link; BpfError if `fd` is not a BPF object.

    `fd` must be of that kind: their infos look alike.
    """
    layout = _IDENTITY[kind]
    info = read_info(fd, layout)
    return Identity(
        kind,
        number_in(info, layout, "id"),
        number_in(info, layout, "type"),
        text_in(field_in(info, layout, "name")) if "name" in layout else "",
        number_in(info, layout, "prog_id") if "prog_id" in layout else 0,
    )


def ids(kind: ObjectKind) -> Iterator[int]:
    """Ids of all objects of a kind, ascending. An object may be gone before it is opened."""
    command, _ = kind.value
    current = 0
    while True:
        attr = host_attr(GET_ID, "open_flags", start_id=current)
        try:
            bpf(command, attr)
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        current = load(attr, GET_ID, "next_id", sys.byteorder)
        yield current


def by_id(kind: ObjectKind, number: int) -> Fd:
    """An object by its id; BpfError with ENOENT if it does not exist."""
    _, command = kind.value
    return Fd(bpf(command, host_attr(GET_ID, "open_flags", start_id=number)))


NO_DOTS = "names on a bpffs have no dots"
_PIN_HINTS = {
    errno.EPERM: "pins must be on a bpffs: mount -t bpf bpf /sys/fs/bpf",
    errno.EEXIST: "choose another path, or remove what is there",
    errno.ENOENT: "create the directory first",
}


def obj_pin(fd: int, path: str | os.PathLike[str], *, trust_pins: bool = False) -> None:
    """Pin a map, program or link to a bpffs; BpfError with EEXIST if the path exists.

    UsageError if other users can write to the directory (`check_pin`), unless `trust_pins`.
    """
    where = os.path.abspath(path)  # noqa: PTH100 - pathlib is slow to import
    name = os.fsencode(where) + b"\0"
    with at(os.fspath(path)):
        try:
            if not trust_pins:
                _check(Cmd.OBJ_PIN, os.path.dirname(where))  # noqa: PTH120
            bpf(Cmd.OBJ_PIN, host_attr(OBJ, "file_flags", pathname=address_of(name), bpf_fd=fd))
        except BpfError as error:
            error.hint = error.hint or _pin_hint(error.errno, where)
            raise


def _pin_hint(error: int, path: str) -> str:
    from lskel.runtime.bpffs import is_on_bpffs

    directory, name = os.path.split(path)
    if error == errno.EPERM and "." in name and is_on_bpffs(directory):
        return NO_DOTS
    return _PIN_HINTS.get(error, "")


def obj_get(path: str | os.PathLike[str], *, trust_pins: bool = False) -> Fd:
    """The map, program or link pinned at `path`; BpfError with ENOENT if it does not exist.

    UsageError if other users could have created it (`check_pin`), unless `trust_pins`.
    """
    where = os.path.abspath(path)  # noqa: PTH100
    name = os.fsencode(where) + b"\0"
    with at(os.fspath(path)):
        if not trust_pins:
            _check(Cmd.OBJ_GET, where)
        return Fd(bpf(Cmd.OBJ_GET, host_attr(OBJ, "file_flags", pathname=address_of(name))))


def _check(cmd: Cmd, path: str) -> None:
    from lskel.runtime.bpffs import check_pin

    try:
        check_pin(path)
    except OSError as error:
        raise BpfError(cmd, error.errno or errno.EINVAL) from error


def enable_stats() -> Fd:
    """Enable run statistics of programs while the fd is open. Linux 5.8."""
    # BPF_STATS_RUN_TIME is 0, the only kind of statistics.
    return Fd(bpf(Cmd.ENABLE_STATS, host_attr(ENABLE_STATS, "type")))
