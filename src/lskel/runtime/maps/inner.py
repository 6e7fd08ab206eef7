"""Maps of maps."""

from __future__ import annotations

from lskel.errors import UsageError, WrongType
from lskel.light_typing import Generic
from lskel.runtime.kernel import check_running
from lskel.runtime.maps.array import SparseArray
from lskel.runtime.maps.attributes import MapAttributes
from lskel.runtime.maps.base import Map
from lskel.runtime.maps.handles import handle
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.maps.typed import KeyedMap
from lskel.runtime.objects import Fd, ObjectKind, by_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from lskel.runtime.kernel import Kernel
    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.maps.handles import Handle
    from lskel.runtime.values import Codec

    K = TypeVar("K")
else:
    K = object


class InnerMap(MapAttributes):
    """The definition of the inner maps of a map of maps: attributes as those of a map."""

    def __init__(self, definition: MapDefinition, outer: Map) -> None:
        super().__init__(definition)
        self._outer = outer
        self._fixed = True

    @property
    def _called(self) -> str:
        return f"map '{self._outer.name}': inner map"

    def _check_settable(self, attribute: str) -> None:
        self._outer._check_settable(attribute)

    def changes(self, kernel: Kernel) -> dict[str, int]:
        """The fields of BPF_MAP_CREATE that differ from those of the object."""
        from lskel.catalog.entries import entries_on

        made = self.definition
        entries = entries_on(made.type, made.max_entries, kernel)
        return self._changes(made._replace(max_entries=entries))


class _OfMaps(KeyedMap[K, int], Generic[K]):
    _settable = (*Map._settable, "inner_map")
    _inner: InnerMap | None = None

    @property
    def inner_map(self) -> InnerMap:
        """The inner map definition; its attributes are settable before load().

        Set to another map: inner maps are like that one. UsageError if the object
        does not define one.
        """
        if self._inner is None:
            inner = self.declared.inner
            if inner is None:
                raise UsageError(f"map '{self.name}': the object does not define its inner map")
            self._inner = InnerMap(inner, self)
        return self._inner

    @inner_map.setter
    def inner_map(self, like: Map) -> None:
        self._check_settable("inner_map")
        if not isinstance(like, MapAttributes):
            raise WrongType(f"map '{self.name}': expected a map, got {type(like).__name__}")
        inner, wanted = self.inner_map, like.definition
        inner.definition = inner.definition._replace(
            type=wanted.type,
            key_size=wanted.key_size,
            value_size=wanted.value_size,
            max_entries=wanted.max_entries,
            flags=wanted.flags,
            map_extra=wanted.map_extra,
            numa_node=wanted.numa_node,
        )

    def _inner_changes(self, kernel: Kernel) -> dict[str, int]:
        return {} if self._inner is None else self._inner.changes(kernel)

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
