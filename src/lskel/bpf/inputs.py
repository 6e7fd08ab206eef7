"""Numbers that a loader is handed because only the target knows them."""

from __future__ import annotations

from lskel.named import Distinct


class TypeSize(Distinct):
    """Bytes of the kernel's struct `type`."""

    type: str


class MemberIndex(Distinct):
    """The number of a member among those of the kernel's struct `type`."""

    type: str
    member: str


class AttachFd(Distinct):
    """The fd of the program or BTF that holds what program number `slot` attaches to."""

    slot: int


class AttachBtfId(Distinct):
    """The BTF id, in what `AttachFd` is, of what program number `slot` attaches to."""

    slot: int
