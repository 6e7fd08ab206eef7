"""Sockmap programs: for the sockets in a sockmap or sockhash."""

from __future__ import annotations

import errno

from lskel.bpf.enums import AttachType, Cmd
from lskel.bpf.layouts import PROG_ATTACH
from lskel.errors import UsageError
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.link import BpfLink, Link, link_create
from lskel.runtime.objects import Fd, duplicate
from lskel.runtime.program import Program
from lskel.runtime.syscall import BpfError, bpf, host_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.maps.base import Map

_HINTS = {
    errno.EBUSY: "a link has a program of this kind, or one that excludes it, attached to the map",
    errno.EOPNOTSUPP: "not a sockmap or sockhash, or the kernel lacks this attach type",
    errno.EINVAL: "not a sockmap or sockhash",
}
_ATTACH_TYPES = (
    AttachType.SK_SKB_STREAM_PARSER,
    AttachType.SK_SKB_STREAM_VERDICT,
    AttachType.SK_SKB_VERDICT,
    AttachType.SK_MSG_VERDICT,
)


class SockmapAttachment(Link):
    """A program attached to a sockmap without a link. It stays as long as the map."""

    def __init__(self, program: Fd, sockmap: Fd, attach_type: AttachType) -> None:
        """Owns both fds."""
        self._program = program
        self._map = sockmap
        self._attach_type = attach_type

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._program.closed

    def close(self) -> None:
        """BPF_PROG_DETACH, unless the map has another program meanwhile."""
        if self.closed:
            return
        with self._program as program, self._map as sockmap:
            try:
                bpf(Cmd.PROG_DETACH, _attr(program.fileno(), sockmap.fileno(), self._attach_type))
            except BpfError as error:
                if error.errno != errno.ENOENT:
                    raise


def attach_sockmap(
    prog_fd: int, map_fd: int, attach_type: AttachType
) -> BpfLink | SockmapAttachment:
    """Attach to the map: by a link if the kernel has them (6.10), else by BPF_PROG_ATTACH.

    BpfError if the kernel refuses: EBUSY if a link has such a program attached.
    """
    with with_hints(_HINTS):
        try:
            return link_create(prog_fd, map_fd, attach_type)
        except BpfError as error:
            if error.errno != errno.EINVAL:
                raise
        return attach_without_link(prog_fd, map_fd, attach_type)


def attach_without_link(prog_fd: int, map_fd: int, attach_type: AttachType) -> SockmapAttachment:
    """BPF_PROG_ATTACH, which replaces an attached program. Linux 4.14."""
    with with_hints(_HINTS):
        bpf(Cmd.PROG_ATTACH, _attr(prog_fd, map_fd, attach_type))
    return SockmapAttachment(duplicate(prog_fd), duplicate(map_fd), attach_type)


def _attr(prog_fd: int, map_fd: int, attach_type: AttachType) -> bytearray:
    return host_attr(
        PROG_ATTACH,
        "attach_type",
        target_fd=map_fd,
        attach_bpf_fd=prog_fd,
        attach_type=attach_type,
    )


class SockmapProgram(Program):
    """A program of ``SEC("sk_skb/...")`` or ``SEC("sk_msg")``."""

    def attach(  # type: ignore[override]
        self, sockmap: Map, attach_type: AttachType | None = None
    ) -> BpfLink | SockmapAttachment:
        """Attach to a sockmap or sockhash until the link is closed.

        It applies to sockets added afterwards: a socket keeps the programs that the map had when it
        was added. `attach_type` is for ``SEC("sk_skb")``, which has none. UsageError without it,
        else the errors of `attach_sockmap`.
        """
        wanted = self.definition.attach_type if attach_type is None else attach_type
        if wanted not in _ATTACH_TYPES:
            raise UsageError(
                f"program '{self.name}' has no attach type: expected parser or verdict",
                hint='pass attach_type, or use SEC("sk_skb/stream_verdict")',
            )
        link = attach_sockmap(self.fileno(), sockmap.fileno(), AttachType(wanted))
        self.attached(link)
        return link
