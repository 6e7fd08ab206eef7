"""Arrays: of text, and of anything else."""

from __future__ import annotations

import ctypes
import struct

from lskel.errors import LskelError, WrongType, WrongValue
from lskel.runtime.values.codec import (
    Codec,
    as_bytes,
    codec,
    derived,
    memory,
    register,
    shown,
    under,
)
from lskel.runtime.values.scalars import s8, s128, u8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, ClassVar, Generic, TypeVar, overload

    from lskel.runtime.values.codec import Buffer, CType

    E = TypeVar("E")

    class _Array(Generic[E]):
        """`ctypes.Array`, with the types of an array field of a struct."""

        _type_: ClassVar[CType]
        _length_: ClassVar[int]

        def __get__(self, instance: object, owner: object) -> Array[E]: ...
        def __set__(self, instance: object, value: Iterable[E] | Iterable[Any]) -> None: ...
        @overload
        def __getitem__(self, index: int) -> E: ...
        @overload
        def __getitem__(self, index: slice) -> list[E]: ...
        def __getitem__(self, index: int | slice) -> E | list[E]: ...
        def __setitem__(self, index: int | slice, value: Any) -> None: ...
        def __iter__(self) -> Iterator[E]: ...
        def __len__(self) -> int: ...
        @classmethod
        def from_buffer(cls, source: Any, offset: int = 0) -> Array[E]: ...
        @classmethod
        def from_buffer_copy(cls, source: Buffer, offset: int = 0) -> Array[E]: ...

else:
    E = object

    class _Array(ctypes.Array):
        _type_, _length_ = u8, 0

        def __class_getitem__(cls, _):
            return cls


# Elements in the repr of an array.
_MAX_SHOWN = 64


class Array(_Array[E]):
    """An array of fixed length; `array` creates its classes.

    Elements are read as in ctypes: structs and inner arrays are views of the same memory. Equal to
    an array, list or tuple of equal elements. It is hashed by value, so that it can be a dict key;
    do not change one that is.
    """

    _type_, _length_ = u8, 0

    def __init__(self, *values: Any) -> None:
        if values:
            memory(self)[:] = codec(type(self)).encode(values)

    def __setitem__(self, index: int | slice, value: Any) -> None:
        if isinstance(index, slice):
            places = range(*index.indices(len(self)))
            values = tuple(value)
            if len(values) != len(places):
                raise WrongValue(f"expected {len(places)} elements, got {len(values)}")
            for place, item in zip(places, values, strict=True):
                self[place] = item
            return
        try:
            self._store(index, value)
        except LskelError as error:
            under(f"[{index}]", error)
            raise

    def _store(self, index: int, value: Any) -> None:
        element = codec(self._type_)
        super().__setitem__(index, element.decode(element.encode(value)))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (Array, list, tuple)):
            return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
        return NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        texts = [shown(self._type_, value) for value in self[:_MAX_SHOWN]]
        if len(self) > _MAX_SHOWN:
            texts.append(f"... {len(self) - _MAX_SHOWN} more")
        return f"[{', '.join(texts)}]"

    @classmethod
    def codec_(cls) -> Codec[Array[E]]:
        """The codec, for `codec`."""
        return Codec(ctypes.sizeof(cls), _encoder(cls), cls.from_buffer_copy)  # type: ignore[arg-type]


class _Converted(Array[E]):
    """An array with elements that need conversion after ctypes reads them."""

    def __getitem__(self, index: Any) -> Any:
        decode = codec(self._type_).decode
        found: Any = super().__getitem__(index)
        if isinstance(index, slice):
            return [decode(item) for item in found]
        return decode(found)

    def __iter__(self) -> Iterator[E]:
        return iter(self[:])

    def _store(self, index: int, value: Any) -> None:
        place = memory(super().__getitem__(index))
        place[:] = codec(self._type_).encode(value)


def _no_elements(length: int, value: object) -> WrongType:
    return WrongType(f"expected a sequence of {length} elements, got {type(value).__name__}")


def _encoder(cls: type[Array[Any]]) -> Callable[[Any], bytes]:
    length, element = cls._length_, codec(cls._type_)
    is_bytes = cls._type_ in (u8, s8)
    pack = struct.Struct(f"={length}{element.code}").pack if element.code not in ("", "?") else None

    def encode(value: Any) -> bytes:
        if isinstance(value, cls):
            return bytes(value)
        if is_bytes and isinstance(value, (bytes, bytearray, memoryview)):
            items: Any = value
        elif isinstance(value, (str, bytes, dict, set, frozenset)):
            raise _no_elements(length, value)
        else:
            try:
                items = tuple(value)
            except TypeError:
                raise _no_elements(length, value) from None
        if len(items) != length:
            raise WrongValue(f"expected {length} elements, got {len(items)}")
        if items is value and is_bytes:
            return as_bytes(value)
        if pack is not None:
            try:
                return pack(*items)
            except (struct.error, OverflowError):
                pass  # found below, to name the element
        parts = []
        for index, item in enumerate(items):
            try:
                parts.append(element.encode(item))
            except LskelError as error:
                under(f"[{index}]", error)
                raise
        return b"".join(parts)

    return encode


_texts: dict[int, CType] = {}


def array(ctype: CType, length: int) -> CType:
    """The class of arrays of `length` elements."""
    found: CType | None = derived(ctype).get(("array", length))
    if found is None:
        converted = issubclass(ctype, s128) or is_text(ctype)
        base: type = _Converted if converted else Array
        name = f"{ctype.__name__}_{length}"
        found = type(name, (base,), {"_type_": ctype, "_length_": length})
        derived(ctype)["array", length] = found
    return found


def text(length: int) -> CType:
    """The class of `char[length]`: read as bytes up to the first NUL, padded with NULs."""
    found = _texts.get(length)
    if found is None:
        found = _texts[length] = ctypes.c_char * length

        def encode(value: Any) -> bytes:
            data = as_bytes(value)
            if len(data) > length:
                raise WrongValue(f"{len(data)} bytes do not fit into {length}")
            return data.ljust(length, b"\0")

        register(found, Codec(length, encode, lambda data: bytes(data).partition(b"\0")[0]))
    return found


def is_text(ctype: CType) -> bool:
    """Whether a type was created by `text`."""
    return getattr(ctype, "_type_", None) is ctypes.c_char
