"""Hash maps, as dicts."""

from __future__ import annotations

import errno
from collections.abc import MutableMapping
from itertools import chain

from lskel.bpf.flags import ElementFlag
from lskel.errors import NoElement
from lskel.runtime import one_element
from lskel.runtime.maps.typed import NO_KEY, KeyedMap
from lskel.runtime.maps.views import Items, Values
from lskel.runtime.syscall import ENOTSUPP, BpfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
    from typing import Any, TypeVar

    K = TypeVar("K")
    V = TypeVar("V")
else:
    K = V = object

_NO_DEFAULT: Any = object()
# Kernel or map type lacks lookup-and-delete: hashes have it since 5.14.
_NOT_TAKEN = (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP)


class HashMap(KeyedMap[K, V], MutableMapping[K, V]):
    """A hash (HASH, LRU_HASH, RHASH): a mapping from keys to values.

    Iteration, `items()`, `values()` and `copy()` read in batches, ``dict(m)`` does not. Programs
    may change the map meanwhile: elements that stay come once; those added or deleted may come or
    not. The order is the kernel's, and may differ each time. An RHASH (Linux 7.2) is read one by
    one, and elements that stay may be missed while the kernel resizes it.
    """

    def __delitem__(self, key: K) -> None:
        self._remove(key)

    def __iter__(self) -> Iterator[K]:
        return self._all_keys()

    def __len__(self) -> int:
        """The number of elements, by counting: the kernel does not report it."""
        return sum(count for _, _, count in self._chunks())

    def __bool__(self) -> bool:
        return self._first() is not None

    def _first(self) -> bytes | None:
        return self._call(one_element.next_key, None, self._key.size)

    def items(self) -> ItemsView[K, V]:
        """The elements, read in batches."""
        return Items(self)

    def values(self) -> ValuesView[V]:
        """The values, read in batches."""
        return Values(self)

    def copy(self) -> dict[K, V]:
        """A copy of the current elements."""
        return dict(self.all_items())

    def add(self, key: K, value: V) -> None:
        """Add a new key; BpfError EEXIST if it exists. Atomic."""
        self._put(key, value, ElementFlag.NOEXIST)

    def replace(self, key: K, value: V) -> None:
        """Change an existing key; BpfError ENOENT if it does not exist. Atomic."""
        self._put(key, value, ElementFlag.EXIST)

    def pop(self, key: K, default: Any = _NO_DEFAULT) -> Any:
        """Look up and delete an element: atomic since Linux 5.14."""
        try:
            found = self._taken(self._encoded_key(key))
        except NO_KEY:
            if default is _NO_DEFAULT:
                raise
            return default
        if found is not None:
            return self._value.decode(found)
        if default is _NO_DEFAULT:
            raise self._missing(key)
        return default

    def popitem(self) -> tuple[K, V]:
        """Look up and delete any element; KeyError if the map is empty."""
        while (key := self._first()) is not None:
            found = self._taken(key)
            if found is not None:
                return self._key.decode(key), self._value.decode(found)
        raise NoElement(f"map '{self.name}' is empty")

    def _taken(self, key: bytes) -> bytes | None:
        try:
            return self._call(one_element.lookup_and_delete, key, self._value.size)
        except BpfError as error:
            if error.errno not in _NOT_TAKEN:
                raise
        found = self._call(one_element.lookup, key, self._value.size)
        # None as well if it was deleted in between.
        return found if self._call(one_element.delete, key) else None

    def setdefault(self, key: K, default: V) -> V:
        """The value of a key, which is set to `default` if it does not exist."""
        while True:
            try:
                self.add(key, default)
            except BpfError as error:
                if error.errno != errno.EEXIST:
                    raise
            try:
                return self[key]
            except KeyError:
                continue  # deleted meanwhile

    def update(  # type: ignore[override]
        self, other: Mapping[K, V] | Iterable[tuple[K, V]], /
    ) -> None:
        """Set many elements, in batches; on errors, some of them may be set."""
        pairs: Any = other.items() if hasattr(other, "items") else other
        self._write_all(pairs)

    def take(self) -> Iterator[tuple[K, V]]:
        """Look up and delete all elements, as pairs (Linux 5.6).

        In batches: the pairs of a batch are deleted before the first of them is returned.
        """
        return chain.from_iterable(self._pairs(take=True))

    def delete_batch(self, keys: Iterable[K]) -> int:
        """Delete many keys, in batches (Linux 5.6); returns how many existed."""
        return self._delete_all(keys)

    def clear(self) -> None:
        """Delete all current elements."""
        for _ in self._chunks(take=True):
            pass
