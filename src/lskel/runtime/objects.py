"""Kernel objects: fds that close themselves, what the kernel says of an object, ids, pins."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from lskel.bpf.attr import encode, load
from lskel.bpf.enums import Cmd, LinkType
from lskel.bpf.layouts import (
    BTF_INFO,
    ENABLE_STATS,
    GET_ID,
    INFO,
    LINK_INFO,
    MAP_INFO,
    OBJ,
    PROG_INFO,
    Layout,
)
from lskel.errors import Closed, at
from lskel.named import NamedTuple
from lskel.runtime.syscall import BpfError, address_of, bpf, calling, host_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeAlias

    # bpf(2) of some kernel, as `lskel.runtime.syscall.bpf` is that of the running one.
    Bpf: TypeAlias = Callable[[int, bytearray], int]

    class Closable(Protocol):
        """What can be closed; `closed` before anything of it is gone."""

        @property
        def closed(self) -> bool: ...


# Names of tracepoints, functions, iterators and modules; the kernel cuts at 127.
_NAME_ROOM = 128


class Fd:
    """Owns a file descriptor: closes it once, on leaving a `with` block or when dropped."""

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
        """Give the fd back; does nothing the second time."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Fd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Fd({'closed' if self.closed else self._fd})"


@contextmanager
def in_use(owner: Closable, what: str) -> Iterator[None]:
    """Turn what fails in the block because another thread closed `owner` into Closed.

    Python says so with errors of many kinds: of views, of mappings, of fds.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        if not owner.closed or isinstance(error, Closed):
            raise
        raise Closed(f"the {what} is closed") from error


def duplicate(fd: int) -> Fd:
    """An fd of one's own for what another stands for; KernelError where that is closed, or none is
    left.
    """
    with calling("dup"):
        return Fd(os.dup(fd))


class MapInfo(NamedTuple):
    """`struct bpf_map_info`. `type` is a `MapType`; sizes in bytes; ids are 0 where unset."""

    id: int
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str
    ifindex: int
    btf_id: int
    btf_key_type_id: int
    btf_value_type_id: int
    btf_vmlinux_value_type_id: int
    map_extra: int


class ProgInfo(NamedTuple):
    """`struct bpf_prog_info`. `type` is a `ProgType`; lengths in bytes; `tag` is hexadecimal.

    `xlated` holds the translated instructions when they were asked for, and may be shown.
    `run_time_ns` and `run_cnt` stay 0 unless the kernel keeps statistics.
    """

    id: int
    type: int
    name: str
    tag: str
    xlated_len: int
    jited_len: int
    created_by_uid: int
    load_time_ns: int
    map_ids: tuple[int, ...]
    ifindex: int
    btf_id: int
    run_time_ns: int
    run_cnt: int
    verified_insns: int
    attach_btf_obj_id: int
    attach_btf_id: int
    xlated: bytes


class BtfInfo(NamedTuple):
    """`struct bpf_btf_info`. `name` is "vmlinux", a module's, or "" for a program's BTF.

    `data` holds the BTF itself when it was asked for; `size` is its length.
    """

    id: int
    name: str
    kernel: bool
    size: int
    data: bytes


class LinkInfo(NamedTuple):
    """`struct bpf_link_info`. `type` is a `LinkType`.

    `name` is the tracepoint's, function's or iterator's for links that have one; `attach_type`
    is set for tracing links, `ifindex` for XDP; both are 0 otherwise.
    """

    id: int
    type: int
    prog_id: int
    name: str
    attach_type: int
    ifindex: int


# Field names of (name, length of its buffer), by type of link. Perf links have them from 6.6.
_LINK_NAMES = {
    LinkType.RAW_TRACEPOINT: ("raw_tracepoint_tp_name", "raw_tracepoint_tp_name_len"),
    LinkType.ITER: ("iter_target_name", "iter_target_name_len"),
    LinkType.PERF_EVENT: ("perf_event_tracepoint_tp_name", "perf_event_tracepoint_name_len"),
}


def map_info(fd: int, *, bpf: Bpf = bpf) -> MapInfo:
    """What the kernel says of a map."""
    info = _info(fd, MAP_INFO, bpf)
    return MapInfo(
        id=_number(info, MAP_INFO, "id"),
        type=_number(info, MAP_INFO, "type"),
        key_size=_number(info, MAP_INFO, "key_size"),
        value_size=_number(info, MAP_INFO, "value_size"),
        max_entries=_number(info, MAP_INFO, "max_entries"),
        flags=_number(info, MAP_INFO, "map_flags"),
        name=_name(_field(info, MAP_INFO, "name")),
        ifindex=_number(info, MAP_INFO, "ifindex"),
        btf_id=_number(info, MAP_INFO, "btf_id"),
        btf_key_type_id=_number(info, MAP_INFO, "btf_key_type_id"),
        btf_value_type_id=_number(info, MAP_INFO, "btf_value_type_id"),
        btf_vmlinux_value_type_id=_number(info, MAP_INFO, "btf_vmlinux_value_type_id"),
        map_extra=_number(info, MAP_INFO, "map_extra"),
    )


def prog_info(fd: int, *, xlated: bool = False, bpf: Bpf = bpf) -> ProgInfo:
    """What the kernel says of a program, with its translated instructions if `xlated`."""
    sizes = _info(fd, PROG_INFO, bpf)
    ids = bytearray(4 * _number(sizes, PROG_INFO, "nr_map_ids"))
    code = bytearray(_number(sizes, PROG_INFO, "xlated_prog_len") if xlated else 0)
    info = _info(
        fd,
        PROG_INFO,
        bpf,
        nr_map_ids=len(ids) // 4,
        map_ids=address_of(ids),
        xlated_prog_len=len(code),
        xlated_prog_insns=address_of(code),
    )
    # The kernel clears the pointer instead of filling the buffer where it may not show the code.
    shown = code if _number(info, PROG_INFO, "xlated_prog_insns") else b""
    return ProgInfo(
        id=_number(info, PROG_INFO, "id"),
        type=_number(info, PROG_INFO, "type"),
        name=_name(_field(info, PROG_INFO, "name")),
        tag=_field(info, PROG_INFO, "tag").hex(),
        xlated_len=_number(info, PROG_INFO, "xlated_prog_len"),
        jited_len=_number(info, PROG_INFO, "jited_prog_len"),
        created_by_uid=_number(info, PROG_INFO, "created_by_uid"),
        load_time_ns=_number(info, PROG_INFO, "load_time"),
        map_ids=tuple(memoryview(ids).cast("I")),
        ifindex=_number(info, PROG_INFO, "ifindex"),
        btf_id=_number(info, PROG_INFO, "btf_id"),
        run_time_ns=_number(info, PROG_INFO, "run_time_ns"),
        run_cnt=_number(info, PROG_INFO, "run_cnt"),
        verified_insns=_number(info, PROG_INFO, "verified_insns"),
        attach_btf_obj_id=_number(info, PROG_INFO, "attach_btf_obj_id"),
        attach_btf_id=_number(info, PROG_INFO, "attach_btf_id"),
        xlated=bytes(shown),
    )


def btf_info(fd: int, *, data: bool = False) -> BtfInfo:
    """What the kernel says of a BTF object, with its bytes if `data`."""
    content = bytearray(_number(_info(fd, BTF_INFO), BTF_INFO, "btf_size") if data else 0)
    name = bytearray(_NAME_ROOM)
    info = _info(
        fd,
        BTF_INFO,
        btf=address_of(content),
        btf_size=len(content),
        name=address_of(name),
        name_len=len(name),
    )
    return BtfInfo(
        id=_number(info, BTF_INFO, "id"),
        name=_name(name),
        kernel=bool(_number(info, BTF_INFO, "kernel_btf")),
        size=_number(info, BTF_INFO, "btf_size"),
        data=bytes(content),
    )


def link_info(fd: int) -> LinkInfo:
    """What the kernel says of a link."""
    info = _info(fd, LINK_INFO)
    link_type = _number(info, LINK_INFO, "type")
    return LinkInfo(
        id=_number(info, LINK_INFO, "id"),
        type=link_type,
        prog_id=_number(info, LINK_INFO, "prog_id"),
        name=_link_name(fd, link_type, len(info)),
        attach_type=_number(info, LINK_INFO, "tracing_attach_type")
        if link_type == LinkType.TRACING
        else 0,
        ifindex=_number(info, LINK_INFO, "xdp_ifindex") if link_type == LinkType.XDP else 0,
    )


def _link_name(fd: int, link_type: int, known: int) -> str:
    """`known` is how many bytes of the info the kernel knows of: it refuses any beyond."""
    if link_type not in _LINK_NAMES:
        return ""
    pointer, length = _LINK_NAMES[LinkType(link_type)]
    if known < sum(LINK_INFO[length]):
        return ""
    name = bytearray(_NAME_ROOM)
    _info(fd, LINK_INFO, bpf, **{pointer: address_of(name), length: len(name)})
    return _name(name)


def _info(fd: int, layout: Layout, bpf: Bpf = bpf, **request: int) -> bytearray:
    """The info struct, as much of it as the kernel knows."""
    size = max(offset + size for offset, size in layout.values())
    info = encode(layout, size, sys.byteorder, **request)
    attr = host_attr(INFO, "info", bpf_fd=fd, info_len=size, info=address_of(info))
    bpf(Cmd.OBJ_GET_INFO_BY_FD, attr)
    return info[: load(attr, INFO, "info_len", sys.byteorder)]


def _number(info: bytearray, layout: Layout, field: str) -> int:
    return load(info, layout, field, sys.byteorder)


def _field(info: bytearray, layout: Layout, field: str) -> bytearray:
    offset, size = layout[field]
    return info[offset : offset + size]


def _name(field: bytearray) -> str:
    return field.partition(b"\0")[0].decode(errors="replace")


class Kind(Enum):
    """Kinds of objects that have ids: the commands for the next id, and for an fd."""

    PROG = (Cmd.PROG_GET_NEXT_ID, Cmd.PROG_GET_FD_BY_ID)
    MAP = (Cmd.MAP_GET_NEXT_ID, Cmd.MAP_GET_FD_BY_ID)
    BTF = (Cmd.BTF_GET_NEXT_ID, Cmd.BTF_GET_FD_BY_ID)
    LINK = (Cmd.LINK_GET_NEXT_ID, Cmd.LINK_GET_FD_BY_ID)


class Identity(NamedTuple):
    """What tells an object from others: `program` is the id of a link's; links have no name."""

    kind: Kind
    id: int
    type: int
    name: str
    program: int


_IDENTITY = {Kind.MAP: MAP_INFO, Kind.PROG: PROG_INFO, Kind.LINK: LINK_INFO}
# The infos of maps, programs and links look alike; only the files' names tell them apart.
_FILES = {
    "anon_inode:bpf-map": Kind.MAP,
    "anon_inode:bpf-prog": Kind.PROG,
    "anon_inode:bpf_link": Kind.LINK,
}


def kind_of(fd: int) -> Kind | None:
    """What an fd is of; None where that is not a map, program or link, or there is no /proc."""
    try:
        return _FILES.get(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115
    except OSError:
        return None


def identity(fd: int, kind: Kind) -> Identity:
    """What the kernel says of a map, program or link; BpfError where `fd` is of nothing of BPF.

    `fd` must be of that kind: the infos of all look alike.
    """
    layout = _IDENTITY[kind]
    info = _info(fd, layout)
    return Identity(
        kind,
        _number(info, layout, "id"),
        _number(info, layout, "type"),
        _name(_field(info, layout, "name")) if "name" in layout else "",
        _number(info, layout, "prog_id") if "prog_id" in layout else 0,
    )


def ids(kind: Kind) -> Iterator[int]:
    """Ids of all objects of a kind, ascending. An object may be gone by the time it is opened."""
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


def by_id(kind: Kind, number: int) -> Fd:
    """An object by its id; BpfError with ENOENT where there is none."""
    _, command = kind.value
    return Fd(bpf(command, host_attr(GET_ID, "open_flags", start_id=number)))


def obj_pin(fd: int, path: str | os.PathLike[str], *, trust_pins: bool = False) -> None:
    """Give a map, program or link a name in a bpffs; BpfError with EEXIST where it is taken.

    UsageError where others can write to the directory (`check_pin`), unless `trust_pins`.
    """
    where = os.path.abspath(path)  # noqa: PTH100 - pathlib is slow to import
    name = os.fsencode(where) + b"\0"
    with at(os.fspath(path)):
        if not trust_pins:
            _check(Cmd.OBJ_PIN, os.path.dirname(where))  # noqa: PTH120
        try:
            bpf(Cmd.OBJ_PIN, host_attr(OBJ, "file_flags", pathname=address_of(name), bpf_fd=fd))
        except BpfError as error:
            if error.errno == errno.EPERM:
                error.hint = "only a bpffs holds pins: mount -t bpf bpf /sys/fs/bpf"
            raise


def obj_get(path: str | os.PathLike[str], *, trust_pins: bool = False) -> Fd:
    """The map, program or link pinned at `path`; BpfError with ENOENT where there is none.

    UsageError where others may have put it there (`check_pin`), unless `trust_pins`.
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
    """Have the kernel count runs of programs, and their time, while the fd is open. Linux 5.8."""
    # The only kind of statistics there is: BPF_STATS_RUN_TIME, 0.
    return Fd(bpf(Cmd.ENABLE_STATS, host_attr(ENABLE_STATS, "type")))
