"""Links: a program is attached until its link is closed, unless the link is pinned."""

from __future__ import annotations

import errno

from lskel.bpf.enums import AttachType, Cmd, LinkType
from lskel.bpf.flags import AttachFlag
from lskel.bpf.layouts import LINK_CREATE, LINK_UPDATE
from lskel.bpf.names import enum_name
from lskel.errors import NotSupported, UsageError, WrongType, at, got
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.objects import Fd, ObjectKind, by_id, closed, kind_of, obj_get, obj_pin
from lskel.runtime.syscall import BpfError, KernelError, bpf, host_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import NoReturn, Protocol, TypeVar

    from lskel.runtime.info import LinkInfo

    L = TypeVar("L", bound="Link")

    class HasFileno(Protocol):
        """A loaded program."""

        def fileno(self) -> int: ...


# The kernel can replace the program of these (bpf_link_ops.update_prog), or their struct_ops map.
_UPDATABLE = frozenset(
    (
        *(LinkType.CGROUP, LinkType.ITER, LinkType.NETNS, LinkType.XDP, LinkType.STRUCT_OPS),
        *(LinkType.TCX, LinkType.NETKIT, LinkType.SOCKMAP),
    )
)
_ID_HINTS = {
    errno.EPERM: "opening links by id needs CAP_SYS_ADMIN",
    errno.ENOENT: "no such link: the list is in bpftool link",
}
_UPDATE_HINTS = {
    errno.EINVAL: "the program must have the type and attach type of the link's program",
    errno.ENOLINK: "the link's target is gone",
    errno.EPERM: "the link's program is not `instead_of`",
}


class Link:
    """An attachment that ends on `close`; a context manager.

    Most are a `BpfLink`. Others are not objects of the kernel, or are several: of these, `pin`,
    `update` and `info` raise NotSupported.
    """

    __slots__ = ()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        raise NotImplementedError

    def close(self) -> None:
        """Detach; a second call does nothing."""
        raise NotImplementedError

    def pin(self, path: str | os.PathLike[str], *, trust_pins: bool = False) -> None:
        """Pin it to a bpffs: the program stays attached when this process ends. As `obj_pin`."""
        self._no_link("pinned")

    def update(self, program: HasFileno, instead_of: HasFileno | None = None) -> None:
        """Replace its program atomically. With `instead_of`, only if that is its program.

        For XDP, tcx, netkit, cgroup, network namespace, iterator and sockmap links; NotSupported
        for others. BpfError if the kernel refuses: EINVAL for a program of another type, EPERM if
        `instead_of` is not the link's program, ENOLINK if the target is gone.
        """
        self._no_link("updated")

    def info(self) -> LinkInfo:
        """What the kernel reports about it."""
        self._no_link("described")

    def _no_link(self, what: str) -> NoReturn:
        raise NotSupported(f"{type(self).__name__} is not one link of bpf(2): it cannot be {what}")

    def __enter__(self: L) -> L:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BpfLink(Fd, Link):
    """A link of bpf(2). Linux 5.7."""

    __slots__ = ()

    @classmethod
    def open(cls, where: str | os.PathLike[str] | int, *, trust_pins: bool = False) -> BpfLink:
        """Open an existing link, by pin path or id.

        Closing it detaches only if nothing else holds it. UsageError if it is not a link, or if
        other users could have created the pin (unless `trust_pins`); BpfError with ENOENT if it
        does not exist.
        """
        if isinstance(where, int):
            try:
                with at(f"link {where}"):
                    return cls(by_id(ObjectKind.LINK, where).release())
            except BpfError as error:
                error.hint = error.hint or _ID_HINTS.get(error.errno, "")
                raise
        with obj_get(where, trust_pins=trust_pins) as fd:
            if kind_of(fd.fileno()) in (ObjectKind.MAP, ObjectKind.PROG):
                raise UsageError(f"{where}: expected a link, got another BPF object")
            return cls(fd.release())

    def pin(self, path: str | os.PathLike[str], *, trust_pins: bool = False) -> None:
        """Pin it to a bpffs: the program stays attached when this process ends. As `obj_pin`."""
        obj_pin(self.fileno(), path, trust_pins=trust_pins)

    def update(self, program: HasFileno, instead_of: HasFileno | None = None) -> None:
        """Replace its program, as `Link.update`."""
        number = _fd_of(program)
        expected = None if instead_of is None else _fd_of(instead_of)
        try:
            with with_hints(_UPDATE_HINTS):
                link_update(self.fileno(), number, expected)
        except KernelError as error:
            kind = self.info().type
            if kind in _UPDATABLE:
                raise
            raise NotSupported(
                f"the kernel replaces no programs of links of type {enum_name(LinkType, kind)}",
                hint="attach the new program, then close this link",
            ) from error

    def info(self) -> LinkInfo:
        """What the kernel reports about it."""
        from lskel.runtime.info import link_info

        return link_info(self.fileno())

    def fileno(self) -> int:
        """The number of its fd; Closed after `close`."""
        if self.closed:
            raise closed("link")
        return super().fileno()

    def __enter__(self) -> BpfLink:
        return self


def _fd_of(program: HasFileno) -> int:
    if not hasattr(program, "fileno"):
        raise WrongType(f"link: expected a program, got {got(program)}")
    return program.fileno()


def link_create(
    prog_fd: int, target: int, attach_type: AttachType, flags: int = 0, **fields: int
) -> BpfLink:
    """BPF_LINK_CREATE (Linux 5.7); BpfError if the kernel refuses.

    `target` is the fd or interface index of the attach target (one field of the attr); `fields` are
    those of the link type (layouts.LINK_CREATE). The attr ends with the last of these.
    """
    last = max((*fields, "flags"), key=lambda name: sum(LINK_CREATE[name]))
    attr = host_attr(
        LINK_CREATE,
        last,
        prog_fd=prog_fd,
        target_fd=target,
        attach_type=attach_type,
        flags=flags,
        **fields,
    )
    return BpfLink(bpf(Cmd.LINK_CREATE, attr))


def link_update(link_fd: int, prog_fd: int, expected: int | None = None) -> None:
    """BPF_LINK_UPDATE (Linux 5.7): `prog_fd` replaces the link's program.

    With `expected`, also an fd, only if that is the link's program. BpfError if the kernel refuses.
    """
    attr = host_attr(
        LINK_UPDATE,
        "old_prog_fd",
        link_fd=link_fd,
        new_prog_fd=prog_fd,
        flags=0 if expected is None else AttachFlag.REPLACE,
        old_prog_fd=expected or 0,
    )
    bpf(Cmd.LINK_UPDATE, attr)
