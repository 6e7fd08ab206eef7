"""The elements of maps: one class for each storage scheme of the kernel's map types.

Errnos are those of Linux 6.18, of newer map types those of 7.3.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from lskel import budget
from lskel.bpf.flags import ElementFlag
from lskel.cursor import ByteOrder
from lskel.replay.simulator.syscall.errnos import Errno, Refusal, check
from lskel.replay.simulator.syscall.fds import KernelObject

# An element is bytes that programs may point to, or an object that user space passes as an fd.
Element = bytearray | KernelObject
# Returns the new element; may refuse. Called when the kernel reads the value.
Take = Callable[[], Element]


class Storage:
    """A map without elements: refuses each operation, by default like ring buffers."""

    def __init__(self, refusals: Mapping[str, Errno] | None = None) -> None:
        self._refusals = refusals or {}

    def _refuse(self, operation: str) -> Refusal:
        return Refusal(self._refusals.get(operation, Errno.ENOTSUPP))

    def lookup(self, key: bytes, value: bytes) -> Element:
        """The element. `value` is the content of the caller's buffer, for bloom filters."""
        raise self._refuse("lookup")

    def update(self, key: bytes, take: Take, flags: int) -> None:
        """Set an element."""
        raise self._refuse("update")

    def delete(self, key: bytes) -> None:
        """Remove an element."""
        raise self._refuse("delete")

    def take_out(self, key: bytes) -> Element:
        """Look up and remove an element in one step."""
        raise self._refuse("take_out")

    def next_key(self, key: bytes | None) -> bytes:
        """The key after this one, or the first; Refusal ENOENT after the last."""
        raise self._refuse("next_key")


class IndexedStorage(Storage):
    """Keys are u32 indexes below `entries`. Elements are created on first access."""

    past_end = Errno.E2BIG
    delete_past_end = Errno.E2BIG

    def __init__(self, entries: int, order: ByteOrder) -> None:
        super().__init__()
        self.entries = entries
        self.order = order
        self.elements: dict[int, Element] = {}

    def _index(self, key: bytes, errno: Errno) -> int:
        index = int.from_bytes(key, self.order)
        check(index < self.entries, errno)
        return index

    def lookup(self, key: bytes, value: bytes) -> Element:
        element = self.elements.get(self._index(key, Errno.ENOENT))
        if element is None:
            raise Refusal(Errno.ENOENT)
        return element

    def delete(self, key: bytes) -> None:
        if self.elements.pop(self._index(key, self.delete_past_end), None) is None:
            raise Refusal(Errno.ENOENT)

    def next_key(self, key: bytes | None) -> bytes:
        index = int.from_bytes(key, self.order) if key is not None else self.entries
        if index >= self.entries:
            index = -1
        check(index + 1 < self.entries, Errno.ENOENT)
        return (index + 1).to_bytes(4, self.order)


class ArrayStorage(IndexedStorage):
    """All elements exist from the start, zeroed; accessed elements are charged to `memory`."""

    def __init__(self, entries: int, order: ByteOrder, size: int, memory: budget.Allowance) -> None:
        super().__init__(entries, order)
        self.size = size
        self.memory = memory

    def lookup(self, key: bytes, value: bytes) -> Element:
        index = self._index(key, Errno.ENOENT)
        if index not in self.elements:
            self.memory.spend(budget.ELEMENT + self.size)
            self.elements[index] = bytearray(self.size)
        return self.elements[index]

    def update(self, key: bytes, take: Take, flags: int) -> None:
        check(flags <= ElementFlag.EXIST)
        self._index(key, self.past_end)
        check(flags != ElementFlag.NOEXIST, Errno.EEXIST)
        element, new = self.lookup(key, b""), take()
        assert isinstance(element, bytearray) and isinstance(new, bytearray)
        element[:] = new

    def delete(self, key: bytes) -> None:
        raise Refusal(Errno.EINVAL)


class InsnStorage(ArrayStorage):
    """Instructions: a value sets the first u32 only, and the next two, the kernel's, are 0."""

    def update(self, key: bytes, take: Take, flags: int) -> None:
        self._index(key, self.past_end)
        check(not flags & ElementFlag.NOEXIST, Errno.EEXIST)
        element, new = self.lookup(key, b""), take()
        assert isinstance(element, bytearray) and isinstance(new, bytearray)
        check(not any(new[4:12]))
        element[:4] = new[:4]


class StructOpsStorage(ArrayStorage):
    """One element that can be set once: a struct_ops map."""

    def __init__(self, order: ByteOrder, size: int, memory: budget.Allowance) -> None:
        super().__init__(1, order, size, memory)
        self._set = False

    def update(self, key: bytes, take: Take, flags: int) -> None:
        check(flags == 0)
        self._index(key, self.past_end)
        check(not self._set, Errno.EBUSY)
        super().update(key, take, flags)
        self._set = True


class ObjectStorage(IndexedStorage):
    """Elements are objects; `readable`: whether a lookup returns their ids."""

    def __init__(self, entries: int, order: ByteOrder, *, readable: bool) -> None:
        super().__init__(entries, order)
        self.readable = readable

    def lookup(self, key: bytes, value: bytes) -> Element:
        check(self.readable, Errno.ENOTSUPP)
        return super().lookup(key, value)

    def update(self, key: bytes, take: Take, flags: int) -> None:
        check(flags == 0)
        index = self._index(key, self.past_end)
        self.elements[index] = take()


class DeviceStorage(IndexedStorage):
    """Devices, CPUs: initially empty; a value that begins with a zero u32 is empty."""

    delete_past_end = Errno.EINVAL

    def update(self, key: bytes, take: Take, flags: int) -> None:
        check(flags <= ElementFlag.EXIST)
        index = self._index(key, self.past_end)
        check(flags != ElementFlag.NOEXIST, Errno.EEXIST)
        element = take()
        assert isinstance(element, bytearray)
        self.elements.pop(index, None)
        if any(element[:4]):
            self.elements[index] = element

    def delete(self, key: bytes) -> None:
        self.elements.pop(self._index(key, self.delete_past_end), None)


class SocketStorage(IndexedStorage):
    """Sockets: the simulated process has none; `refusals` as for `Storage`."""

    def __init__(self, entries: int, order: ByteOrder, refusals: Mapping[str, Errno]) -> None:
        super().__init__(entries, order)
        self._refusals = refusals

    def lookup(self, key: bytes, value: bytes) -> Element:
        raise self._refuse("lookup")

    def update(self, key: bytes, take: Take, flags: int) -> None:
        take()

    def delete(self, key: bytes) -> None:
        raise self._refuse("delete")


class HashStorage(Storage):
    """Any keys, up to `entries`; with `evicts` a new one replaces the oldest.

    With `value_first` the value is checked before the flags.
    """

    def __init__(self, entries: int, *, evicts: bool = False, value_first: bool = False) -> None:
        super().__init__()
        self.entries = entries
        self.evicts = evicts
        self.value_first = value_first
        self.elements: dict[bytes, Element] = {}

    def lookup(self, key: bytes, value: bytes) -> Element:
        element = self.elements.get(key)
        if element is None:
            raise Refusal(Errno.ENOENT)
        return element

    def update(self, key: bytes, take: Take, flags: int) -> None:
        element = take() if self.value_first else None
        check(flags <= ElementFlag.EXIST)
        if key in self.elements:
            check(flags != ElementFlag.NOEXIST, Errno.EEXIST)
        else:
            check(flags != ElementFlag.EXIST, Errno.ENOENT)
            self._make_room()
        self.elements[key] = element if element is not None else take()

    def _make_room(self) -> None:
        if len(self.elements) >= self.entries:
            check(self.evicts, Errno.E2BIG)
            del self.elements[next(iter(self.elements))]

    def delete(self, key: bytes) -> None:
        self.take_out(key)

    def take_out(self, key: bytes) -> Element:
        element = self.lookup(key, b"")
        del self.elements[key]
        return element

    def next_key(self, key: bytes | None) -> bytes:
        keys = list(self.elements)
        # An unknown key starts again from the first.
        following = keys.index(key) + 1 if key is not None and key in self.elements else 0
        check(following < len(keys), Errno.ENOENT)
        return keys[following]


class TrieStorage(Storage):
    """Keys are a u32 prefix length and data; a lookup finds the longest prefix."""

    def __init__(self, entries: int, order: ByteOrder) -> None:
        super().__init__()
        self.entries = entries
        self.order = order
        # By the prefix as "0" and "1": the original key, and the element.
        self.elements: dict[str, tuple[bytes, Element]] = {}

    def _prefix(self, key: bytes) -> str:
        length = int.from_bytes(key[:4], self.order)
        check(length <= 8 * len(key[4:]))
        return "".join(f"{byte:08b}" for byte in key[4:])[:length]

    def lookup(self, key: bytes, value: bytes) -> Element:
        try:
            prefix = self._prefix(key)
        except Refusal:
            raise Refusal(Errno.ENOENT) from None
        for length in range(len(prefix), -1, -1):
            found = self.elements.get(prefix[:length])
            if found is not None:
                return found[1]
        raise Refusal(Errno.ENOENT)

    def update(self, key: bytes, take: Take, flags: int) -> None:
        check(flags <= ElementFlag.EXIST)
        prefix = self._prefix(key)
        if prefix in self.elements:
            check(flags != ElementFlag.NOEXIST, Errno.EEXIST)
        else:
            check(flags != ElementFlag.EXIST, Errno.ENOENT)
            check(len(self.elements) < self.entries, Errno.ENOSPC)
        self.elements[prefix] = key, take()

    def delete(self, key: bytes) -> None:
        if self.elements.pop(self._prefix(key), None) is None:
            raise Refusal(Errno.ENOENT)

    def next_key(self, key: bytes | None) -> bytes:
        # Longer prefixes come before shorter ones of them, as in the kernel.
        prefixes = sorted(self.elements, key=lambda prefix: f"{prefix}2")
        following = 0
        if key is not None and int.from_bytes(key[:4], self.order) <= 8 * len(key[4:]):
            prefix = self._prefix(key)
            following = prefixes.index(prefix) + 1 if prefix in self.elements else 0
        check(following < len(prefixes), Errno.ENOENT)
        return self.elements[prefixes[following]][0]


class QueueStorage(Storage):
    """First in, first out, or with `last_in` last in, first out; no keys."""

    def __init__(self, entries: int, *, last_in: bool) -> None:
        super().__init__({"delete": Errno.EINVAL, "next_key": Errno.EINVAL})
        self.last_in = last_in
        self.elements: deque[Element] = deque()
        self.entries = entries

    def lookup(self, key: bytes, value: bytes) -> Element:
        check(bool(self.elements), Errno.ENOENT)
        return self.elements[-1 if self.last_in else 0]

    def take_out(self, key: bytes) -> Element:
        check(bool(self.elements), Errno.ENOENT)
        return self.elements.pop() if self.last_in else self.elements.popleft()

    def update(self, key: bytes, take: Take, flags: int) -> None:
        check(flags in (0, ElementFlag.EXIST))
        if len(self.elements) >= self.entries:
            # BPF_EXIST removes the oldest.
            check(flags == ElementFlag.EXIST, Errno.E2BIG)
            self.elements.popleft()
        self.elements.append(take())


class BloomStorage(Storage):
    """A set of values; no keys. Unlike the kernel's, without false positives."""

    def __init__(self) -> None:
        super().__init__({"delete": Errno.EOPNOTSUPP, "next_key": Errno.EOPNOTSUPP})
        self.elements: set[bytes] = set()

    def lookup(self, key: bytes, value: bytes) -> Element:
        check(value in self.elements, Errno.ENOENT)
        return bytearray(value)

    def update(self, key: bytes, take: Take, flags: int) -> None:
        check(flags == 0)
        element = take()
        assert isinstance(element, bytearray)
        self.elements.add(bytes(element))
