"""BPF tokens: rights that the mount of a bpffs delegates to a user namespace (Linux 6.9).

A token stands for capabilities that its user namespace has, where bpf(2) asks for those of the
initial one: for the commands, map types, program types and attach types of the mount's options
``delegate_*`` (kernel/bpf/token.c). The commands in `token_fields` take one;
links need none, since a program keeps the token that it was loaded with.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager

from lskel.bpf.enums import AttachType, Cmd, MapType, ProgType
from lskel.bpf.layouts import TOKEN_CREATE
from lskel.errors import at
from lskel.light_typing import NamedTuple
from lskel.runtime.files import read_text
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import KernelError, bpf, calling, host_attr
from lskel.runtime.token_fields import add_token, scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from enum import IntEnum

    from lskel.runtime.places import CallPlace

# As libbpf: the variable is like a path that the caller gives; the default is optional.
VARIABLE = "LIBBPF_BPF_TOKEN_PATH"
DEFAULT_PATH = "/sys/fs/bpf"
# Inode number of the initial user namespace: PROC_USER_INIT_INO of include/linux/proc_ns.h.
_INITIAL_NAMESPACE = 0xEFFFFFFD

_ENUMS: dict[str, type[IntEnum]] = {
    "cmds": Cmd,
    "maps": MapType,
    "progs": ProgType,
    "attachs": AttachType,
}
_DELEGATE = "mount a bpffs with the options delegate_cmds, delegate_maps, ..."
_HINTS = {
    errno.ENOENT: f"the bpffs delegates nothing: {_DELEGATE}",
    errno.EOPNOTSUPP: "tokens are for user namespaces; outside, capabilities are enough",
    errno.EPERM: "the bpffs must be one of this user namespace, and the process have CAP_BPF in it",
    errno.EINVAL: "expected the root of a bpffs; tokens need Linux 6.9",
}


@contextmanager
def using_token(path: str | None = None) -> Iterator[None]:
    """In the block, calls of this thread that take a token get that of `path` (`open_token`)."""
    token = open_token(path)
    if token is None:
        yield
        return
    before = scope.token
    with token:
        scope.token = token.fileno()
        try:
            yield
        finally:
            scope.token = before


def open_token(path: str | None) -> Fd | None:
    """The token of the bpffs at `path`, or by default as libbpf: None if there is none.

    Without `path` it is that of $LIBBPF_BPF_TOKEN_PATH, or if that is not set, of /sys/fs/bpf if
    that has one and the process is in a user namespace; with an empty path there is no token.
    KernelError if a path that is named has none.
    """
    named = os.environ.get(VARIABLE) if path is None else path
    if named == "" or (named is None and not _in_user_namespace()):
        return None
    try:
        return _create(named or DEFAULT_PATH)
    except KernelError:
        if named is None:
            return None  # a load that is refused then says so (permissions.py)
        raise


def _in_user_namespace() -> bool:
    try:
        return os.stat("/proc/self/ns/user").st_ino != _INITIAL_NAMESPACE  # noqa: PTH116
    except OSError:
        return True  # the kernel knows


def _create(path: str) -> Fd:
    with at("BPF token", path), calling("open"):
        directory = Fd(os.open(path, os.O_DIRECTORY | os.O_CLOEXEC))
        with directory:
            attr = host_attr(TOKEN_CREATE, "bpffs_fd", bpffs_fd=directory.fileno())
            try:
                return Fd(bpf(Cmd.TOKEN_CREATE, attr))
            except KernelError as error:
                error.hint = _HINTS.get(error.errno, error.hint)
                raise


class TokenRights(NamedTuple):
    """What a token delegates: masks of `Cmd`, `MapType`, `ProgType` and `AttachType`; -1 for all.

    Its text is as the options of a mount.
    """

    cmds: int
    maps: int
    progs: int
    attachs: int

    def __str__(self) -> str:
        return ", ".join(
            f"delegate_{what}={_names(mask, enum)}"
            for (what, enum), mask in zip(_ENUMS.items(), self, strict=True)
            if mask
        )

    def lacking(self) -> TokenRights:
        """What is not delegated of what every loader program needs."""
        return TokenRights(*(need & ~mask for need, mask in zip(_LOADER, self, strict=True)))


# The table form has BTF. The attach type of SYSCALL programs is the first, which is 0.
_LOADER = (
    1 << Cmd.MAP_CREATE | 1 << Cmd.PROG_LOAD | 1 << Cmd.BTF_LOAD,
    1 << MapType.ARRAY,
    1 << ProgType.SYSCALL,
    1 << AttachType.CGROUP_INET_INGRESS,
)


def token_rights() -> TokenRights | None:
    """The rights of the token in use, from its fdinfo; None if none is in use."""
    if not scope.token:
        return None
    lines = read_text(f"/proc/self/fdinfo/{scope.token}").splitlines()
    shown = dict(line.split(":", 1) for line in lines)
    masks = (shown[f"allowed_{what}"].strip() for what in _ENUMS)
    return TokenRights(*(-1 if mask == "any" else int(mask, 16) for mask in masks))


def _names(mask: int, enum: type[IntEnum]) -> str:
    if mask == -1:
        return "any"
    return ":".join(item.name.lower() for item in enum if mask >> item & 1)


def with_token(blob: bytes, calls: Iterable[CallPlace]) -> bytes:
    """The blob of a loader, with the token in use in the attrs of its calls."""
    if not scope.token:
        return blob
    changed = bytearray(blob)
    for call in calls:
        add_token(changed, call.cmd, call.offset)
    return bytes(changed)
