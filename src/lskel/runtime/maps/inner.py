"""Maps of maps."""

from __future__ import annotations

from lskel.light_typing import Generic
from lskel.runtime.kernel import check_running
from lskel.runtime.maps.array import SparseArray
from lskel.runtime.maps.handles import handle
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.maps.typed import KeyedMap
from lskel.runtime.objects import Fd, ObjectKind, by_id

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
        """An fd of the inner map, which the caller closes; KeyError if there is none.

        BpfError with ENOENT if it is gone meanwhile, with EPERM without CAP_SYS_ADMIN.
        """
        check_running(self.kernel, "opens no maps by id")
        return by_id(ObjectKind.MAP, self[key])


class ArrayOfMaps(_OfMaps[int], SparseArray[int]):
    """An ARRAY_OF_MAPS: set by map or fd, read as map ids. Linux 4.12.

    The kernel accepts only maps that match the inner map definition, else EINVAL.
    """

    def __init__(self, definition: MapDefinition) -> None:
        SparseArray.__init__(self, definition, handle(4))


class HashOfMaps(_OfMaps[K], HashMap[K, int]):
    """A HASH_OF_MAPS: as `ArrayOfMaps`, by any key. Linux 4.12."""

    def __init__(self, definition: MapDefinition, key: type[K] | Codec[K]) -> None:
        HashMap.__init__(self, definition, key, handle(4))
