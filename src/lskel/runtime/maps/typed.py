"""Maps with keys and values of known types."""

from __future__ import annotations

from lskel.errors import UsageError
from lskel.named import Generic
from lskel.runtime import elements
from lskel.runtime.maps.base import Map, MapDefinition
from lskel.runtime.objects import Fd, Kind, by_id, map_info, obj_get
from lskel.runtime.syscall import BpfError
from lskel.runtime.values import Codec, codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    import errno
    import os
    from collections.abc import Iterable, Iterator
    from typing import Any, TypeVar

    K = TypeVar("K")
    V = TypeVar("V")
    M = TypeVar("M", bound="KeyedMap[Any, Any]")
else:
    import errno

    K = V = object

# uapi/linux/bpf.h: create new elements only, change existing ones only.
NOEXIST, EXIST = 1, 2
# So many elements are written at once.
_BATCH = 4096


def codec_of(type_: type[V] | Codec[V]) -> Codec[V]:
    """The codec of a type of `lskel.runtime.values`; one that is a codec already stays."""
    return type_ if isinstance(type_, Codec) else codec(type_)


class KeyedMap(Map, Generic[K, V]):
    """A map that is read and written by key; the element's types are those of its codecs."""

    def __init__(
        self, definition: MapDefinition, key: type[K] | Codec[K], value: type[V] | Codec[V]
    ) -> None:
        super().__init__(definition)
        self._key = codec_of(key)
        self._value = self._value_codec(value)

    def _value_codec(self, value: type[V] | Codec[V]) -> Codec[V]:
        return codec_of(value)

    @classmethod
    def open(
        cls: type[M], where: str | os.PathLike[str] | int, key: type[Any], value: type[Any]
    ) -> M:
        """A map that exists, by the path of its pin or by its id.

        UsageError where its key or value has another size than the types given.
        """
        fd = by_id(Kind.MAP, where) if isinstance(where, int) else obj_get(where)
        return cls.of(fd, key, value)

    @classmethod
    def of(cls: type[M], fd: Fd, key: type[Any], value: type[Any]) -> M:
        """The map that an fd is of, which it owns from now on; as `open`."""
        info = map_info(fd.fileno())
        shape = MapDefinition(
            *(info.name, info.type, info.key_size, info.value_size),
            *(info.max_entries, info.flags, info.map_extra),
        )
        made = cls(shape, key, value)
        stored = elements.stored_size(shape)
        for what, ours, theirs in (
            ("key", made._key.size, info.key_size),
            ("value", made._value.size, stored),
        ):
            if ours != theirs:
                fd.close()
                raise UsageError(f"map '{info.name}': its {what} has {theirs} bytes, not {ours}")
        made.bind(fd)
        return made

    # -- one element ----------------------------------------------------------------------------

    def _encoded_key(self, key: K) -> bytes:
        try:
            return self._key.encode(key)
        except (TypeError, ValueError, OverflowError) as error:
            error.args = (f"map '{self.name}': key: {error}",)
            raise

    def _encoded_value(self, value: V) -> bytes:
        try:
            return self._value.encode(value)
        except (TypeError, ValueError, OverflowError) as error:
            error.args = (f"map '{self.name}': value: {error}",)
            raise

    def __getitem__(self, key: K) -> V:
        found = elements.lookup(self.fileno(), self._encoded_key(key), self._value.size)
        if found is None:
            raise KeyError(key)
        return self._value.decode(found)

    def __setitem__(self, key: K, value: V) -> None:
        self._put(key, value, 0)

    def _put(self, key: K, value: V, flags: int) -> None:
        raw_key, raw_value = self._encoded_key(key), self._encoded_value(value)
        try:
            elements.update(self.fileno(), raw_key, raw_value, flags)
        except BpfError as error:
            raise self._explained(error) from None

    def _explained(self, error: BpfError) -> BpfError:
        error.places.insert(0, f"map '{self.name}'")
        if error.errno == errno.E2BIG:
            error.hint = (
                f"it has room for {self.max_entries} entries: set max_entries before load()"
            )
        return error

    def __contains__(self, key: object) -> bool:
        try:
            raw = self._key.encode(key)
        except (TypeError, ValueError, OverflowError):
            return False  # a map has no keys that cannot be
        return elements.lookup(self.fileno(), raw, self._value.size) is not None

    # -- all of them ----------------------------------------------------------------------------

    def batches(self) -> Iterator[list[tuple[K, V]]]:
        """All elements, as many at once as the kernel hands out: the fastest way to read a map.

        Elements that stay in the map come once each, whoever else deletes or adds meanwhile.
        """
        yield from self._chunks(take=False)

    def _chunks(self, *, take: bool) -> Iterator[list[tuple[K, V]]]:
        for keys, values, count in elements.chunks(self.fileno(), self.definition, take=take):
            yield [
                *zip(
                    self._key.decode_many(keys, count),
                    self._value.decode_many(values, count),
                    strict=True,
                )
            ]

    def _write_all(self, pairs: Iterable[tuple[K, V]]) -> None:
        keys, values = bytearray(), bytearray()
        for key, value in pairs:
            keys += self._encoded_key(key)
            values += self._encoded_value(value)
            if len(keys) >= _BATCH * self._key.size:
                self._write(keys, values)
                keys.clear()
                values.clear()
        if keys:
            self._write(keys, values)

    def _write(self, keys: bytearray, values: bytearray) -> None:
        count = len(keys) // self._key.size
        fd, flags = self.fileno(), 0
        try:
            elements.update_batch(fd, keys, values, count, flags)
            return
        except BpfError as error:
            if error.errno not in elements.BATCH_UNKNOWN:
                raise self._explained(error) from None
        try:
            for index in range(count):
                key = keys[index * self._key.size : (index + 1) * self._key.size]
                value = values[index * self._value.size : (index + 1) * self._value.size]
                elements.update(fd, bytes(key), bytes(value), flags)
        except BpfError as error:
            raise self._explained(error) from None
