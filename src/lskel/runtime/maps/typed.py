"""Maps with keys and values of known types."""

from __future__ import annotations

import errno
import os
from itertools import chain, islice

from lskel.bpf.enums import MapType
from lskel.bpf.names import enum_name
from lskel.errors import (
    LskelError,
    NoElement,
    OutOfRange,
    UsageError,
    WrongType,
    WrongValue,
    at,
)
from lskel.light_typing import Generic
from lskel.runtime import elements, one_element
from lskel.runtime.maps.base import Map, MapDefinition, definition_of
from lskel.runtime.objects import Fd, ObjectKind, by_id, obj_get
from lskel.runtime.syscall import BpfError
from lskel.runtime.values import Codec, codec_of, raw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Concatenate, ParamSpec, TypeVar

    K = TypeVar("K")
    V = TypeVar("V")
    R = TypeVar("R")
    P = ParamSpec("P")
    M = TypeVar("M", bound="TypedMap[Any]")
else:
    K = V = object

# The errors for keys that the map cannot have.
NO_KEY = (WrongType, WrongValue, OutOfRange)
# Elements per batch when writing.
_BATCH = 1 << 12
# Errnos of full hashes and queues (E2BIG), and tries (ENOSPC).
_FULL = (errno.E2BIG, errno.ENOSPC)


def _definition(fd: Fd) -> MapDefinition:
    """The definition of an existing map; UsageError if the fd is not a map."""
    from lskel.runtime.info import map_info
    from lskel.runtime.pins import is_map

    if not is_map(fd.fileno()):
        raise UsageError("expected a map, got another BPF object")
    return definition_of(map_info(fd.fileno()))


class TypedMap(Map, Generic[V]):
    """A map with values of type `value_type`. It has no keys, unless it is a `KeyedMap`."""

    _key: Codec[Any] = raw(0)
    # Supported map types besides that in kinds.py.
    _opens: tuple[MapType, ...] = ()

    def __init__(self, definition: MapDefinition, value: type[V] | Codec[V]) -> None:
        super().__init__(definition)
        self.value_type = value
        self._value = self._value_codec(value)

    def _value_codec(self, value: type[V] | Codec[V]) -> Codec[V]:
        return codec_of(value)

    @classmethod
    def open(
        cls: type[M], where: str | os.PathLike[str] | int, *types: Any, trust_pins: bool = False
    ) -> M:
        """Open an existing map, by pin path or id.

        `types` are those of the constructor: key and value of a hash, value of an array. UsageError
        if the map does not match, or if other users could have created the pin (unless
        `trust_pins`); BpfError with ENOENT if it does not exist.
        """
        if isinstance(where, int):
            with at(f"map {where}"):
                fd = by_id(ObjectKind.MAP, where)
        else:
            fd = obj_get(where, trust_pins=trust_pins)
        return cls.of(fd, *types)

    @classmethod
    def of(cls: type[M], fd: Fd, *types: Any) -> M:
        """The map of an fd, which it owns from now on; as `open`."""
        try:
            made = cls(_definition(fd), *types)
            made._check()
        except BaseException:
            fd.close()
            raise
        made.bind(fd)
        return made

    def _check(self) -> None:
        """UsageError if the class or its types do not match the map."""
        from lskel.runtime.maps.kinds import class_path

        definition = self.definition
        # By name: a skeleton contains only the classes that it needs.
        name = class_path(definition.type).partition(":")[2]
        is_one = name in (cls.__name__ for cls in type(self).__mro__)
        if definition.type not in self._opens and not is_one:
            kind = enum_name(MapType, definition.type)
            raise UsageError(
                f"map '{self.name}' is of type {kind}, which {type(self).__name__} does not support"
            )
        for what, ours, theirs in (
            ("keys", self._key.size, definition.key_size),
            ("values", self._value.size, elements.stored_size(definition)),
        ):
            if ours != theirs:
                raise UsageError(
                    f"map '{self.name}': its {what} have {theirs} bytes, expected {ours}"
                )

    def _encoded_value(self, value: V) -> bytes:
        try:
            return self._value.encode(value)
        except LskelError as error:
            raise self._named(error, "value") from None

    def _named(self, error: LskelError, what: str) -> LskelError:
        error.places[:0] = (f"map '{self.name}'", what)
        return error

    def _missing(self, key: object) -> NoElement:
        return NoElement(f"map '{self.name}' has no element {key!r}")

    def _call(self, function: Callable[Concatenate[int, P], R], *args: P.args, **kw: P.kwargs) -> R:
        """Call a function of `elements`, with errors that name the map."""
        fd = self.fileno()
        call: Any = function
        try:
            return call(fd, *args, bpf=self._bpf, **kw)  # type: ignore[no-any-return]
        except BpfError as error:
            error.places.insert(0, f"map '{self.name}'")
            if error.errno in _FULL:
                error.hint = f"it holds {self.max_entries} entries: {self._more_room}"
            raise

    _more_room = "set max_entries before load()"


class KeyedMap(TypedMap[V], Generic[K, V]):
    """A map with keys of type `key_type`."""

    def __init__(
        self, definition: MapDefinition, key: type[K] | Codec[K], value: type[V] | Codec[V]
    ) -> None:
        super().__init__(definition, value)
        self.key_type = key
        self._key = self._key_codec(key)

    def _key_codec(self, key: type[K] | Codec[K]) -> Codec[K]:
        return codec_of(key)

    # -- one element ----------------------------------------------------------------------------

    def _encoded_key(self, key: K) -> bytes:
        try:
            return self._key.encode(key)
        except LskelError as error:
            raise self._named(error, "key") from None

    def __getitem__(self, key: K) -> V:
        found = self._call(one_element.lookup, self._encoded_key(key), self._value.size)
        if found is None:
            raise self._missing(key)
        return self._value.decode(found)

    def __setitem__(self, key: K, value: V) -> None:
        self._put(key, value, 0)

    def _put(self, key: K, value: V, flags: int) -> None:
        self._call(one_element.update, self._encoded_key(key), self._encoded_value(value), flags)

    def _remove(self, key: K) -> None:
        if not self._call(one_element.delete, self._encoded_key(key)):
            raise self._missing(key)

    if not TYPE_CHECKING:  # there it is that of Mapping

        def get(self, key, default=None):
            """The value of a key, or `default` where there is none, or cannot be."""
            try:
                return self[key]
            except (KeyError, *NO_KEY):
                return default

    def __contains__(self, key: object) -> bool:
        try:
            encoded = self._key.encode(key)
        except NO_KEY:
            return False
        return self._call(one_element.lookup, encoded, self._value.size) is not None

    # -- all of them ----------------------------------------------------------------------------

    def batches(self) -> Iterator[list[tuple[K, V]]]:
        """All elements, in chunks as the kernel returns them.

        Elements that stay in the map come once each, even if others delete or add meanwhile.
        """
        return map(list, self._pairs())

    def _chunks(self, *, take: bool = False) -> Iterator[elements.Chunk]:
        fd = self.fileno()
        with at(f"map '{self.name}'"):
            chunks = elements.chunks(fd, self.definition, take=take, bpf=self._bpf)
            yield from chunks

    def _pairs(self, *, take: bool = False) -> Iterator[Iterator[tuple[K, V]]]:
        keys_of, values_of = self._key.decode_many, self._value.decode_many
        for keys, values, count in self._chunks(take=take):
            yield zip(keys_of(keys, count), values_of(values, count), strict=True)

    def _all_keys(self) -> Iterator[K]:
        keys_of = self._key.decode_many
        return chain.from_iterable(keys_of(keys, count) for keys, _, count in self._chunks())

    def all_values(self) -> Iterator[V]:
        """The values, in the order of the keys."""
        values_of = self._value.decode_many
        return chain.from_iterable(values_of(values, n) for _, values, n in self._chunks())

    def all_items(self) -> Iterator[tuple[K, V]]:
        """The keys and values."""
        return chain.from_iterable(self._pairs())

    def _write_all(self, pairs: Iterable[tuple[K, V]]) -> None:
        rest = iter(pairs)
        while batch := list(islice(rest, _BATCH)):
            keys, values = zip(*batch, strict=True)
            self._call(
                elements.update_batch,
                self.definition,
                self._encoded_many(self._key, keys, "key"),
                self._encoded_many(self._value, values, "value"),
            )

    def _delete_all(self, keys: Iterable[K]) -> int:
        rest = iter(keys)
        return sum(
            self._call(
                elements.delete_batch,
                self.definition,
                self._encoded_many(self._key, tuple(some), "key"),
            )
            for some in iter(lambda: [*islice(rest, _BATCH)], [])
        )

    def _encoded_many(self, of: Codec[R], values: tuple[R, ...], what: str) -> bytes:
        try:
            return of.encode_many(values)
        except LskelError as error:
            raise self._named(error, what) from None
