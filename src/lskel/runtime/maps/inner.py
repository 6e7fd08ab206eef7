"""Maps of maps."""

from __future__ import annotations

from lskel.named import Generic
from lskel.runtime.maps.array import SparseArray
from lskel.runtime.maps.handles import handle
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.maps.typed import KeyedMap
from lskel.runtime.objects import Fd, Kind, by_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.maps.handles import Handle
    from lskel.runtime.values import Codec

    K = TypeVar("K")
else:
    K = object


class _OfMaps(KeyedMap[K, int], Generic[K]):
    def __setitem__(self, key: K, value: Handle) -> None:
        super().__setitem__(key, value)  # type: ignore[assignment]

    def inner(self, key: K) -> Fd:
        """An fd of the map that is there, which the caller closes; KeyError where there is none.

        BpfError with ENOENT where it is gone by then, with EPERM without CAP_SYS_ADMIN.
        """
        return by_id(Kind.MAP, self[key])


class ArrayOfMaps(_OfMaps[int], SparseArray[int]):
    """An ARRAY_OF_MAPS: set with a map or an fd, read as the map's id. Linux 4.12.

    The kernel takes maps that are like the object's inner map only: EINVAL for others.
    """

    def __init__(self, definition: MapDefinition) -> None:
        SparseArray.__init__(self, definition, handle(4))


class HashOfMaps(_OfMaps[K], HashMap[K, int]):
    """A HASH_OF_MAPS: as `ArrayOfMaps`, by any key. Linux 4.12."""

    def __init__(self, definition: MapDefinition, key: type[K] | Codec[K]) -> None:
        HashMap.__init__(self, definition, key, handle(4))
