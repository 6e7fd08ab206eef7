"""Hash maps, as dicts."""

from __future__ import annotations

import errno
from collections.abc import MutableMapping

from lskel.runtime import elements
from lskel.runtime.maps.typed import EXIST, NOEXIST, KeyedMap
from lskel.runtime.maps.views import Items, Keys, Values
from lskel.runtime.syscall import ENOTSUPP, BpfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
    from typing import Any, TypeVar

    K = TypeVar("K")
    V = TypeVar("V")
else:
    K = V = object

_NOTHING: Any = object()
_NOTHING_TAKEN: Any = object()
# Kernel or map cannot look up and delete at once: hashes can since 5.14.
_NOT_TAKEN = (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP)


class HashMap(KeyedMap[K, V], MutableMapping[K, V]):
    """A hash (HASH, LRU_HASH): a mapping from keys to values.

    `items()`, `values()` and iteration read in batches. Programs change it meanwhile: what stays
    comes once, what is added or deleted may come or not.
    """

    def __delitem__(self, key: K) -> None:
        if not elements.delete(self.fileno(), self._encoded_key(key)):
            raise KeyError(key)

    def __iter__(self) -> Iterator[K]:
        for batch in self.batches():
            for key, _ in batch:
                yield key

    def __len__(self) -> int:
        """How many elements there are: the kernel does not know, they are counted."""
        return sum(count for _, _, count in elements.chunks(self.fileno(), self.definition))

    def __bool__(self) -> bool:
        return elements.next_key(self.fileno(), None, self._key.size) is not None

    def keys(self) -> KeysView[K]:
        """The keys, read in batches."""
        return Keys(self)

    def items(self) -> ItemsView[K, V]:
        """The elements, read in batches."""
        return Items(self)

    def values(self) -> ValuesView[V]:
        """The values, read in batches."""
        return Values(self)

    def add(self, key: K, value: V) -> None:
        """Set a new key; BpfError EEXIST where it is there already. One atomic step."""
        self._put(key, value, NOEXIST)

    def replace(self, key: K, value: V) -> None:
        """Change an existing key; BpfError ENOENT where it is not there. One atomic step."""
        self._put(key, value, EXIST)

    def pop(self, key: K, default: Any = _NOTHING) -> Any:
        """Take an element out: in one atomic step where the kernel can (Linux 5.14)."""
        raw = self._encoded_key(key)
        try:
            found = elements.lookup_and_delete(self.fileno(), raw, self._value.size)
        except BpfError as error:
            if error.errno not in _NOT_TAKEN:
                raise
            found = elements.lookup(self.fileno(), raw, self._value.size)
            if found is not None and not elements.delete(self.fileno(), raw):
                found = None  # somebody else took it
        if found is not None:
            return self._value.decode(found)
        if default is _NOTHING:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[K, V]:
        """Take any element out; KeyError where there is none."""
        while (raw := elements.next_key(self.fileno(), None, self._key.size)) is not None:
            key = self._key.decode(raw)
            value = self.pop(key, _NOTHING_TAKEN)
            if value is not _NOTHING_TAKEN:
                return key, value
        raise KeyError(f"map '{self.name}' is empty")

    def setdefault(self, key: K, default: Any = None) -> Any:
        """The value of a key, which is set to `default` if it is not there."""
        try:
            return self[key]
        except KeyError:
            pass
        try:
            self.add(key, default)
        except BpfError as error:
            if error.errno != errno.EEXIST:
                raise
        return self[key]

    def update(  # type: ignore[override]
        self, other: Mapping[K, V] | Iterable[tuple[K, V]] = (), /, **more: V
    ) -> None:
        """Set many elements, in batches."""
        pairs: Any = other.items() if hasattr(other, "items") else other
        self._write_all(pairs)
        self._write_all(more.items())  # type: ignore[arg-type]

    def take(self) -> Iterator[list[tuple[K, V]]]:
        """Take all elements out, as many at once as the kernel hands out. Linux 5.6."""
        yield from self._chunks(take=True)

    def clear(self) -> None:
        """Remove all elements that are there now."""
        for _ in elements.chunks(self.fileno(), self.definition, take=True):
            pass
