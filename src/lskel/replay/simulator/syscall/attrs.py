"""Attrs as the kernel sees them: padded with zeros if the caller's are shorter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lskel.bpf import attr as fields
from lskel.bpf import layouts
from lskel.bpf.attr import size_through
from lskel.bpf.enums import Cmd
from lskel.bpf.layouts import Layout
from lskel.cursor import ByteOrder
from lskel.replay.simulator.syscall.errnos import Errno, check

# The largest attr that the kernel accepts: a page.
_MAX_SIZE = 4096


class Shape(NamedTuple):
    """A command's fields, and the last one that it knows (the kernel's *_LAST_FIELD)."""

    layout: Layout
    last: str


SHAPES: dict[Cmd, Shape] = {
    Cmd.MAP_CREATE: Shape(layouts.MAP_CREATE, "excl_prog_hash_size"),
    Cmd.MAP_LOOKUP_ELEM: Shape(layouts.MAP_ELEM, "flags"),
    Cmd.MAP_UPDATE_ELEM: Shape(layouts.MAP_ELEM, "flags"),
    Cmd.MAP_LOOKUP_AND_DELETE_ELEM: Shape(layouts.MAP_ELEM, "flags"),
    Cmd.MAP_DELETE_ELEM: Shape(layouts.MAP_ELEM, "key"),
    Cmd.MAP_GET_NEXT_KEY: Shape(layouts.MAP_ELEM, "next_key"),
    Cmd.MAP_FREEZE: Shape(layouts.MAP_ELEM, "map_fd"),
    Cmd.MAP_GET_FD_BY_ID: Shape(layouts.GET_ID, "fd_by_id_token_fd"),
    Cmd.PROG_LOAD: Shape(layouts.PROG_LOAD, "keyring_id"),
    Cmd.PROG_BIND_MAP: Shape(layouts.PROG_BIND_MAP, "flags"),
    Cmd.BTF_LOAD: Shape(layouts.BTF_LOAD, "btf_token_fd"),
    Cmd.RAW_TRACEPOINT_OPEN: Shape(layouts.RAW_TRACEPOINT, "cookie"),
    Cmd.LINK_CREATE: Shape(layouts.LINK_CREATE, "uprobe_multi_pid"),
}

# sizeof(union bpf_attr)
SIZE = max(size_through(*shape) for shape in SHAPES.values())


@dataclass(frozen=True, slots=True)
class Attr:
    """The fields of one command by name, in `raw`, which is `SIZE` bytes."""

    raw: bytes
    layout: Layout
    order: ByteOrder

    def __getitem__(self, field: str) -> int:
        """A field as an unsigned number."""
        return fields.load(self.raw, self.layout, field, self.order)

    def bytes_of(self, field: str) -> bytes:
        """The bytes of a field."""
        offset, size = self.layout[field]
        return self.raw[offset : offset + size]


def check_size(size: int) -> None:
    """Refusal E2BIG if an attr is larger than a page."""
    check(size <= _MAX_SIZE, Errno.E2BIG)


def check_tail(content: bytes) -> None:
    """Refusal E2BIG if bytes unknown to this kernel are not 0."""
    check(not any(content[SIZE:]), Errno.E2BIG)


def check_unused(attr: Attr, last: str) -> None:
    """Refusal EINVAL if fields of other commands are set: the kernel's CHECK_ATTR."""
    check(not any(attr.raw[size_through(attr.layout, last) :]))
