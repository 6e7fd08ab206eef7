"""Structs of which only the head is there: events that are shorter than their type."""

from __future__ import annotations

from ctypes import sizeof

from lskel.runtime.values.arrays import Array, is_text
from lskel.runtime.values.codec import derived, memory
from lskel.runtime.values.structs import Bits, Composite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from typing_extensions import TypeIs

    from lskel.runtime.values.codec import CType

    E = TypeVar("E")

# What is left of a member: all (of text, what is there), the first elements or members, or nothing.
_WHOLE, _ELEMENTS, _MEMBERS, _ABSENT = range(4)


def is_struct(kind: Any) -> TypeIs[type[Composite]]:
    """Whether a type is a struct or union."""
    return isinstance(kind, type) and issubclass(kind, Composite)


def head_of(cls: type[E], data: bytes) -> E:
    """An instance of a struct, from fewer bytes than it has.

    Members that end after the data are absent: UnknownName (an AttributeError) if used, and not in
    its repr and `asdict`. An array becomes a list of the elements that are there; text ends early.
    """
    made: Any = _class(cls, len(data)).from_buffer_copy(data.ljust(sizeof(cls), b"\0"))  # type: ignore[arg-type]
    return _with_size(made, len(data))  # type: ignore[no-any-return]


def _with_size(made: Any, size: int) -> Any:
    object.__setattr__(made, "_head_", size)
    return made


def _class(cls: CType, size: int) -> CType:
    """The class of heads of `size` bytes; one for all sizes that have the same members."""
    sizes = derived(cls).setdefault("heads", {})
    found: CType | None = sizes.get(size)
    if found is None:
        lefts = tuple(_left(cls, name, kind, size) for name, kind in cls._members_.items())
        found = derived(cls).get(lefts)
        if found is None:
            found = derived(cls)[lefts] = _cut(cls, lefts)
        sizes[size] = found
    return found


def _span(cls: CType, name: str, kind: CType) -> tuple[int, int]:
    """The first byte of a member, and that after its last one."""
    field = getattr(cls, name)
    if isinstance(field, Bits):
        return field.offset // 8, -(-(field.offset + field.width) // 8)
    return field.offset, field.offset + sizeof(kind)


def _left(cls: CType, name: str, kind: CType, size: int) -> int:
    start, end = _span(cls, name, kind)
    if end <= size or (is_text(kind) and start <= size):
        return _WHOLE
    if start <= size and issubclass(kind, Array):
        return _ELEMENTS
    return _MEMBERS if start < size and is_struct(kind) else _ABSENT


def _cut(cls: CType, lefts: tuple[int, ...]) -> CType:
    """A class of the same memory, with other members."""
    cut: Any = type(cls.__name__, (cls,), {"__module__": cls.__module__})
    cut._members_, cut._puts_ = dict(cls._members_), dict(cls._puts_)
    cut.elsewhere_ = lambda name: "the type, after the end of this event" * (name in cls._members_)
    for (name, kind), left in zip(cls._members_.items(), lefts, strict=True):
        if left == _WHOLE:
            continue
        start, _ = _span(cls, name, kind)
        del cut._puts_[name]
        if left == _ELEMENTS:
            setattr(cut, name, _elements(getattr(cls, name), kind, start))
        elif left == _MEMBERS:
            setattr(cut, name, _inner(kind, start))
        else:
            del cut._members_[name]
            setattr(cut, name, property())
    return cut  # type: ignore[no-any-return]


def _elements(field: Any, kind: Any, start: int) -> property:
    element = sizeof(kind._type_)
    return property(lambda self: field.__get__(self)[: (self._head_ - start) // element])


def _inner(kind: Any, start: int) -> property:
    def read(self: Any) -> Any:
        size = self._head_ - start
        return _with_size(_class(kind, size).from_buffer(memory(self), start), size)

    return property(read)
