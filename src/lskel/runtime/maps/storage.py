"""Local storage of tasks, sockets, inodes and cgroups, by fd."""

from __future__ import annotations

from collections.abc import Mapping

from lskel.runtime.maps.handles import handle
from lskel.runtime.maps.percpu import per_cpu
from lskel.runtime.maps.typed import NO_KEY, KeyedMap
from lskel.runtime.maps.views import Items, Values
from lskel.runtime.values import codec_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, ValuesView
    from typing import Any, TypeVar

    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.maps.handles import Handle
    from lskel.runtime.values import Codec

    K = TypeVar("K")
    V = TypeVar("V")
else:
    K = V = object


class LocalStorage(KeyedMap["Handle", V]):
    """Values by the fd of their owner, or an object with fileno(); they cannot be listed.

    TASK_STORAGE: a pidfd (`os.pidfd_open`), Linux 5.11. SK_STORAGE: a socket, 5.2. INODE_STORAGE:
    an open file, 5.10. CGRP_STORAGE: an open cgroup directory, 6.2. They are freed with their
    owner.
    """

    def __init__(self, definition: MapDefinition, value: type[V] | Codec[V]) -> None:
        super().__init__(definition, handle(4), value)

    def __delitem__(self, key: Handle) -> None:
        self._remove(key)

    def get(self, key: Handle, default: Any = None) -> Any:
        """The value of an owner, or `default` if it has none."""
        try:
            return self[key]
        except (KeyError, *NO_KEY):
            return default


class CgroupStorage(KeyedMap[K, V], Mapping[K, V]):
    """A CGROUP_STORAGE: a value per cgroup that its program is attached to. Linux 4.19.

    Values live as long as the attachment, and can only be changed. The key is `struct
    bpf_cgroup_storage_key`, or just the cgroup id (Linux 5.9).
    """

    def __iter__(self) -> Iterator[K]:
        return self._all_keys()

    def __len__(self) -> int:
        return sum(count for _, _, count in self._chunks())

    def items(self) -> ItemsView[K, V]:
        """The elements."""
        return Items(self)

    def values(self) -> ValuesView[V]:
        """The values."""
        return Values(self)


class PerCpuCgroupStorage(CgroupStorage[K, list[V]]):
    """A PERCPU_CGROUP_STORAGE: values are lists, one item per possible CPU. Linux 4.20."""

    def __init__(
        self, definition: MapDefinition, key: type[K] | Codec[K], value: type[V] | Codec[V]
    ) -> None:
        lists: Any = value  # `_value_codec` converts it to lists
        super().__init__(definition, key, lists)

    def _value_codec(self, value: Any) -> Any:
        return per_cpu(codec_of(value))
