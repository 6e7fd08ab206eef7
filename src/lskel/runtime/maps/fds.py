"""Maps of cgroups, perf events and sockets."""

from __future__ import annotations

import os

from lskel.bpf.enums import MapType
from lskel.light_typing import Generic
from lskel.runtime.maps.array import SparseArray
from lskel.runtime.maps.handles import NotReadable, handle
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.maps.typed import KeyedMap
from lskel.runtime.objects import Fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.maps.handles import Handle
    from lskel.runtime.values import Codec

    K = TypeVar("K")
else:
    K = object


class HandleArray(NotReadable[int], SparseArray[int]):
    """Elements set by fd, or an object with fileno(): perf events (PERF_EVENT_ARRAY), AF_XDP
    sockets (XSKMAP), sockets (SOCKMAP, Linux 4.14; REUSEPORT_SOCKARRAY, 4.19).

    Reading raises NotSupported, except for the cookies of sockets, if values have 8 bytes (SOCKMAP
    since Linux 5.10). When the fd of a PERF_EVENT_ARRAY is closed, the kernel clears the elements
    set through it, unless the map has BPF_F_PRESERVE_ELEMS.
    """

    # For events from programs it is a `PerfBufferMap`.
    _opens = (MapType.PERF_EVENT_ARRAY,)
    _readable_if = "socket cookies are readable if values are __u64"

    def __init__(self, definition: MapDefinition) -> None:
        super().__init__(definition, handle(definition.value_size))

    def __setitem__(self, index: int, value: Handle) -> None:
        super().__setitem__(index, value)  # type: ignore[assignment]


class CgroupArray(HandleArray):
    """A CGROUP_ARRAY: set by the path of a cgroup (version 2), or an fd. It cannot be read."""

    _readable_if = ""

    def __setitem__(self, index: int, value: Handle | str | os.PathLike[str]) -> None:
        if isinstance(value, (str, os.PathLike)):
            with Fd(os.open(value, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)) as group:
                super().__setitem__(index, group)
        else:
            super().__setitem__(index, value)


class SockHash(NotReadable[int], HashMap[K, int], Generic[K]):
    """A SOCKHASH: sockets by any key, set and read as in a SOCKMAP. Linux 4.18."""

    _readable_if = HandleArray._readable_if

    def __init__(self, definition: MapDefinition, key: type[K] | Codec[K]) -> None:
        KeyedMap.__init__(self, definition, key, handle(definition.value_size))

    def __setitem__(self, key: K, value: Handle) -> None:
        super().__setitem__(key, value)  # type: ignore[assignment]
