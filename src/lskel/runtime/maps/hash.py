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
# Kernel or map cannot look up and delete at once: hashes can since 5.14.
_NOT_TAKEN = (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP)


class HashMap(KeyedMap[K, V], MutableMapping[K, V]):
    """A hash (HASH, LRU_HASH): a mapping from keys to values.

    Iteration, `items()`, `values()` and `copy()` read in batches, ``dict(m)`` does not. Programs
    change it meanwhile: what stays comes once, what is added or deleted may come or not. The order
    is the kernel's, which may be another each time.
    """

    def __delitem__(self, key: K) -> None:
        self._remove(key)

    def __iter__(self) -> Iterator[K]:
        return self._all_keys()

    def __len__(self) -> int:
        """How many elements there are: the kernel does not say, they are counted."""
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
        """The elements that are there now."""
        return dict(self.all_items())

    def add(self, key: K, value: V) -> None:
        """Set a new key; BpfError EEXIST where it is there already. One atomic step."""
        self._put(key, value, ElementFlag.NOEXIST)

    def replace(self, key: K, value: V) -> None:
        """Change an existing key; BpfError ENOENT where it is not there. One atomic step."""
        self._put(key, value, ElementFlag.EXIST)

    def pop(self, key: K, default: Any = _NO_DEFAULT) -> Any:
        """Take an element out: in one atomic step where the kernel can (Linux 5.14)."""
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
        """Take any element out; KeyError where there is none."""
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
        # None as well where somebody else takes it in between.
        return found if self._call(one_element.delete, key) else None

    def setdefault(self, key: K, default: V) -> V:
        """The value of a key, which is set to `default` if it is not there."""
        while True:
            try:
                self.add(key, default)
            except BpfError as error:
                if error.errno != errno.EEXIST:
                    raise
            try:
                return self[key]
            except KeyError:
                continue  # somebody else has deleted it

    def update(  # type: ignore[override]
        self, other: Mapping[K, V] | Iterable[tuple[K, V]], /
    ) -> None:
        """Set many elements, in batches; where that fails, a part of them may be set."""
        pairs: Any = other.items() if hasattr(other, "items") else other
        self._write_all(pairs)

    def take(self) -> Iterator[tuple[K, V]]:
        """Take all elements out, as pairs (Linux 5.6).

        The kernel hands out many at once: they are no longer in the map when the first of them
        comes.
        """
        return chain.from_iterable(self._pairs(take=True))

    def delete_batch(self, keys: Iterable[K]) -> int:
        """Remove many keys, in batches (Linux 5.6); how many of them were there."""
        return self._delete_all(keys)

    def clear(self) -> None:
        """Remove all elements that are there now."""
        for _ in self._chunks(take=True):
            pass
