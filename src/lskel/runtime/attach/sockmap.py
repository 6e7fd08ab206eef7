"""Programs of a sockmap or sockhash: for the sockets in the map."""

from __future__ import annotations

import errno

from lskel.bpf.enums import AttachType, Cmd
from lskel.bpf.layouts import PROG_ATTACH
from lskel.errors import UsageError
from lskel.runtime.attach.link import link_create
from lskel.runtime.attach.linked import LinkedProgram
from lskel.runtime.attach.refusals import explained
from lskel.runtime.objects import Fd, duplicate
from lskel.runtime.syscall import BpfError, bpf, host_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.maps.base import Map

_HINTS = {
    errno.EBUSY: "a link holds a program of this kind there, or one that excludes it",
    errno.EOPNOTSUPP: "the map is no sockmap or sockhash, or the kernel lacks this kind",
    errno.EINVAL: "the map is no sockmap or sockhash",
}
_ATTACH_TYPES = (
    AttachType.SK_SKB_STREAM_PARSER,
    AttachType.SK_SKB_STREAM_VERDICT,
    AttachType.SK_SKB_VERDICT,
    AttachType.SK_MSG_VERDICT,
)


class SockmapAttachment:
    """A program that a sockmap holds itself, without a link. It stays as long as the map does."""

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
        """BPF_PROG_DETACH, unless the map holds another program by now."""
        if self.closed:
            return
        with self._program as program, self._map as sockmap:
            try:
                bpf(Cmd.PROG_DETACH, _attr(program.fileno(), sockmap.fileno(), self._attach_type))
            except BpfError as error:
                if error.errno != errno.ENOENT:
                    raise

    def __enter__(self) -> SockmapAttachment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def attach_sockmap(prog_fd: int, map_fd: int, attach_type: AttachType) -> Fd | SockmapAttachment:
    """Attach to the map: by a link where the kernel has them (6.10), else by BPF_PROG_ATTACH.

    BpfError where the kernel refuses: EBUSY where a link holds such a program.
    """
    with explained(_HINTS):
        try:
            return link_create(prog_fd, map_fd, attach_type)
        except BpfError as error:
            if error.errno != errno.EINVAL:
                raise
        return attach_without_link(prog_fd, map_fd, attach_type)


def attach_without_link(prog_fd: int, map_fd: int, attach_type: AttachType) -> SockmapAttachment:
    """BPF_PROG_ATTACH: the program takes the place of the one that was there. Linux 4.14."""
    with explained(_HINTS):
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


class SockmapProgram(LinkedProgram):
    """A program of ``SEC("sk_skb/...")`` or ``SEC("sk_msg")``."""

    def attach(  # type: ignore[override]
        self, sockmap: Map, attach_type: AttachType | None = None
    ) -> Fd | SockmapAttachment:
        """Attach to a sockmap or sockhash until the link is closed; it sees the map's sockets.

        Those that are put into the map afterwards: a socket keeps the programs that the map had
        when it came. `attach_type` is for ``SEC("sk_skb")``, which does not say which it is.
        UsageError without it, else raises what `attach_sockmap` does.
        """
        wanted = self.definition.attach_type if attach_type is None else attach_type
        if wanted not in _ATTACH_TYPES:
            raise UsageError(
                f"program '{self.name}' does not say whether it is a parser or a verdict",
                hint='give the attach type, or SEC("sk_skb/stream_verdict")',
            )
        link = attach_sockmap(self.fileno(), sockmap.fileno(), AttachType(wanted))
        self.attached(link)
        return link
