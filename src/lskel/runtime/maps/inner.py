"""Maps of maps, and their inner maps."""

from __future__ import annotations

import errno
import sys
from contextlib import ExitStack

from lskel.bpf.attr import object_name
from lskel.bpf.enums import Cmd
from lskel.bpf.layouts import MAP_CREATE
from lskel.errors import UsageError, at
from lskel.light_typing import Generic
from lskel.runtime.info import map_info
from lskel.runtime.kernel import check_running
from lskel.runtime.maps.array import SparseArray
from lskel.runtime.maps.base import Map, definition_of
from lskel.runtime.maps.handles import fd_of
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.maps.typed import KeyedMap, TypedMap
from lskel.runtime.objects import Fd, ObjectKind, by_id
from lskel.runtime.syscall import BpfError, bpf, host_attr
from lskel.runtime.values import Codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeVar

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

    `definition` is for new ones; `btf` has the ids of their key and value types in the object's
    BTF, 0 if none.
    """

    def __init__(
        self,
        cls: type[M],
        *types: Any,
        definition: MapDefinition | None = None,
        btf: tuple[int, int] = (0, 0),
    ) -> None:
        self.definition = definition
        self.btf = btf
        self._class: Any = cls
        self._types = types

    def made(self, definition: MapDefinition) -> M:
        """One of them, not created yet."""
        made: M = self._class(definition, *self._types)
        return made


class _OfMaps(KeyedMap[K, M], Generic[K, M]):
    # What its inner maps are like, if known.
    inner: InnerMaps[M] | None

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
        inner = self.inner
        if inner is None or inner.definition is None:
            raise UsageError(f"map '{self.name}' does not declare its inner maps")
        check_running(self.kernel, "creates no maps")
        made = inner.made(inner.definition)
        if max_entries is not None:
            made.max_entries = max_entries
        wanted = made.created(self.kernel)
        with at(f"map '{wanted.name}'"), ExitStack() as held:
            attr = host_attr(
                MAP_CREATE,
                "map_extra",
                map_type=wanted.type,
                key_size=wanted.key_size,
                value_size=wanted.value_size,
                max_entries=wanted.max_entries,
                map_flags=wanted.flags,
                map_name=object_name(wanted.name),
                map_extra=wanted.map_extra,
                **self._btf_fields(inner, held),
            )
            made.bind(Fd(bpf(Cmd.MAP_CREATE, attr)))
        return made

    def _btf_fields(self, inner: InnerMaps[M], held: ExitStack) -> dict[str, int]:
        """The BTF of the object, which another map of it has: locks and timers need it."""
        if not any(inner.btf):
            return {}
        for other in self.siblings:
            # The BTF of a reused map is that of its own object.
            number = 0 if other.definition.pinned else other.info().btf_id
            if number:
                fd = held.enter_context(by_id(ObjectKind.BTF, number)).fileno()
                key, value = inner.btf
                return {"btf_fd": fd, "btf_key_type_id": key, "btf_value_type_id": value}
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
            made: Any = Map(definition) if self.inner is None else self.inner.made(definition)
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
