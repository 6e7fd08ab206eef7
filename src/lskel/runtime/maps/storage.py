"""Storage that hangs on tasks, sockets, inodes and cgroups, by what has an fd of theirs."""

from __future__ import annotations

from lskel.runtime import elements
from lskel.runtime.maps.handles import handles
from lskel.runtime.maps.typed import KeyedMap
from lskel.runtime.values import Codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from lskel.runtime.maps.base import MapDefinition

    V = TypeVar("V")
else:
    V = object


class StorageMap(KeyedMap["Any", V]):
    """Values by the fd of a task (a pidfd), socket, inode or cgroup; they cannot be listed.

    TASK_STORAGE (5.11), SK_STORAGE (5.2), INODE_STORAGE (5.10), CGRP_STORAGE (6.2).
    """

    def __init__(self, definition: MapDefinition, value: type[V] | Codec[V]) -> None:
        super().__init__(definition, handles(4), value)

    def __delitem__(self, key: Any) -> None:
        if not elements.delete(self.fileno(), self._encoded_key(key)):
            raise KeyError(key)
