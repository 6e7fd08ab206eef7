"""Maps of maps, and their inner maps."""

from __future__ import annotations

import errno
import sys
from contextlib import ExitStack

from lskel.errors import UsageError, WrongType, at, got
from lskel.light_typing import Generic
from lskel.runtime.info import map_info
from lskel.runtime.kernel import check_running
from lskel.runtime.maps.array import SparseArray
from lskel.runtime.maps.attributes import MapAttributes
from lskel.runtime.maps.base import Map, definition_of
from lskel.runtime.maps.create import created
from lskel.runtime.maps.handles import fd_of
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.maps.typed import KeyedMap, TypedMap
from lskel.runtime.objects import ObjectKind, by_id
from lskel.runtime.syscall import BpfError
from lskel.runtime.token import using_token
from lskel.runtime.values import Codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeVar

    from lskel.runtime.kernel import Kernel
    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.maps.handles import Handle
    from lskel.runtime.values.codec import Buffer

    K = TypeVar("K")
    M = TypeVar("M", bound=Map)
else:
    K = M = object

_HINTS = {
    errno.EINVAL: "type, sizes and flags must be those of the declared inner map, for arrays "
    "max_entries too",
    errno.EPERM: "opening maps by id needs CAP_SYS_ADMIN; ids() does not",
}


class InnerMaps(Generic[M]):
    """What the inner maps are like: their class, and the types that it takes.

    `btf` has the ids of their key and value types in the object's BTF, 0 if none.
    """

    def __init__(self, cls: type[M], *types: Any, btf: tuple[int, int] = (0, 0)) -> None:
        self.btf = btf
        self._class: Any = cls
        self._types = types

    def made(self, definition: MapDefinition) -> M:
        """One of them, not created yet."""
        made: M = self._class(definition, *self._types)
        return made


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

    @property
    def keeps_types(self) -> bool:
        """Whether inner maps have the BTF types that the object declares."""
        return self._keeps_types(self.definition)


class _OfMaps(KeyedMap[K, M], Generic[K, M]):
    _settable = (*Map._settable, "inner_map")
    # What its inner maps are like, if known.
    inner: InnerMaps[M] | None
    _inner_map: InnerMap | None = None

    @property
    def inner_map(self) -> InnerMap:
        """The inner map definition; its attributes are settable before load().

        Set to another map: inner maps are like that one. UsageError if the object
        does not define one.
        """
        if self._inner_map is None:
            inner = self.declared.inner
            if inner is None:
                raise UsageError(f"map '{self.name}': the object does not define its inner map")
            self._inner_map = InnerMap(inner, self)
        return self._inner_map

    @inner_map.setter
    def inner_map(self, like: Map) -> None:
        self._check_settable("inner_map")
        if not isinstance(like, MapAttributes):
            raise WrongType(
                f"{self._called}: inner_map: expected a map, got {got(like)}",
                hint="or set its attributes: inner_map.max_entries",
            )
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
        return {} if self._inner_map is None else self._inner_map.changes(kernel)

    def _inner_codec(self) -> Codec[M]:
        return Codec(4, _fd_bytes, self._opened)

    def __setitem__(self, key: K, value: Handle) -> None:
        try:
            super().__setitem__(key, value)  # type: ignore[assignment]
        except BpfError as error:
            if error.errno == errno.EINVAL:
                error.hint = _HINTS[errno.EINVAL]
            raise

    def new(self, max_entries: int | None = None) -> M:
        """Create an inner map as the object declares it, which the caller closes.

        It is not in this map yet: ``outer[key] = outer.new()``. `max_entries` is for types that may
        differ in it: not arrays. UsageError if the object declares none; BpfError if the kernel
        refuses.
        """
        inner, wanted_map = self.inner, self.inner_map
        if inner is None:
            raise UsageError(f"map '{self.name}': the types of its inner maps are unknown")
        check_running(self.kernel, "creates no maps")
        made = self._made(inner, wanted_map.declared)
        if max_entries is not None:
            made.max_entries = max_entries
        wanted = made.created(self.kernel)
        with at(f"map '{wanted.name}'"), using_token(self.token_path), ExitStack() as held:
            types = self._types_of(inner, held) if wanted_map.keeps_types else {}
            made.bind(created(self.kernel, wanted, **types))
        return made

    def _made(self, inner: InnerMaps[M], definition: MapDefinition) -> M:
        """An inner map, not created yet, of the class that its settings give it."""
        made = inner.made(definition)
        for attribute in () if self._inner_map is None else MapAttributes._settable:
            wanted = getattr(self._inner_map, attribute)
            if getattr(made, attribute) != wanted:
                setattr(made, attribute, wanted)
        return made

    def _types_of(self, inner: InnerMaps[M], held: ExitStack) -> dict[str, int]:
        """The types, in the object's BTF, which another map of it has: locks and timers need it."""
        if not any(inner.btf):
            return {}
        for other in self.siblings:
            # The BTF of a reused map is that of its own object.
            has_own = other.autocreate and not other.is_shared
            if has_own and (number := other.info().btf_id):
                fd = held.enter_context(by_id(ObjectKind.BTF, number)).fileno()
                key, value = inner.btf
                return {"btf_fd": fd, "key_type": key, "value_type": value}
        return {}

    def ids(self) -> dict[K, int]:
        """The ids of the inner maps, by key."""
        keys_of = self._key.decode_many
        return {
            key: number
            for keys, values, count in self._chunks()
            for key, number in zip(keys_of(keys, count), _numbers(values, count), strict=True)
        }

    def _opened(self, value: Buffer) -> M:
        return self._by_id(int.from_bytes(value, sys.byteorder))

    def _by_id(self, number: int) -> M:
        """A map by its id; BpfError with ENOENT if it is gone, EPERM without CAP_SYS_ADMIN."""
        check_running(self.kernel, "opens no maps by id")
        try:
            with at(f"map '{self.name}'"):
                fd = by_id(ObjectKind.MAP, number)
        except BpfError as error:
            error.hint = error.hint or _HINTS.get(error.errno, "")
            raise
        with ExitStack() as undo:
            undo.callback(fd.close)
            definition = definition_of(map_info(fd.fileno()))
            inner, declared = self.inner, self.declared.inner
            made: Any = Map(definition)
            if inner is not None:
                made = self._made(inner, definition if declared is None else declared)
                made.definition = definition
            if isinstance(made, TypedMap):
                made._check()
            made.bind(fd)
            undo.pop_all()
        return made  # type: ignore[no-any-return]

    def _pairs(self, *, take: bool = False) -> Iterator[Iterator[tuple[K, M]]]:
        # One by one: each is an fd.
        for keys, values, count in self._chunks(take=take):
            inner = map(self._by_id, _numbers(values, count))
            yield zip(self._key.decode_many(keys, count), inner, strict=True)

    def all_values(self) -> Iterator[M]:
        """The inner maps, in the order of the keys."""
        for _, values, count in self._chunks():
            yield from map(self._by_id, _numbers(values, count))


def _fd_bytes(value: Any) -> bytes:
    return fd_of(value).to_bytes(4, sys.byteorder)


def _numbers(values: Buffer, count: int) -> tuple[int, ...]:
    return tuple(memoryview(values)[: 4 * count].cast("I"))


class ArrayOfMaps(_OfMaps[int, M], SparseArray[M]):
    """An ARRAY_OF_MAPS: set by map or fd, read as maps of their own fds. Linux 4.12.

    The kernel accepts only maps that match the inner map definition, else EINVAL. Reading opens
    maps by id, which needs CAP_SYS_ADMIN; close what you read.
    """

    def __init__(self, definition: MapDefinition, inner: InnerMaps[M] | None = None) -> None:
        self.inner = inner
        SparseArray.__init__(self, definition, self._inner_codec())


class HashOfMaps(_OfMaps[K, M], HashMap[K, M]):
    """A HASH_OF_MAPS: as `ArrayOfMaps`, by any key. Linux 4.12."""

    def __init__(
        self, definition: MapDefinition, key: type[K] | Codec[K], inner: InnerMaps[M] | None = None
    ) -> None:
        self.inner = inner
        HashMap.__init__(self, definition, key, self._inner_codec())
