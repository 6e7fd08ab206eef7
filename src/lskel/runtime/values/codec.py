"""Codecs: conversion between bytes of a map and Python values."""

from __future__ import annotations

import struct

from lskel.errors import LskelError, WrongType, WrongValue
from lskel.light_typing import Generic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias, TypeVar

    T = TypeVar("T")
    Buffer: TypeAlias = bytes | bytearray | memoryview
    CType: TypeAlias = type[Any]
else:
    T = object


class Codec(Generic[T]):
    """`encode` converts a value to `size` bytes, `decode` does the opposite.

    `encode` takes any value that can be assigned to a field of the type. It raises WrongType for
    other types, OutOfRange for a number that does not fit, WrongValue for the wrong number of
    elements or bytes. `code` is the format of module `struct`, "" if it has none.
    """

    __slots__ = ("code", "decode", "encode", "size")

    def __init__(
        self,
        size: int,
        encode: Callable[[Any], bytes],
        decode: Callable[[Buffer], T],
        code: str = "",
    ) -> None:
        self.size = size
        self.encode = encode
        self.decode = decode
        self.code = code

    def decode_many(self, data: Buffer, count: int, stride: int = 0) -> list[T]:
        """The values at every `stride` bytes (0: contiguous)."""
        size = self.size
        stride = stride or size
        if not self.code:
            decode = self.decode
            parts = struct.iter_unpack(
                f"{size}s{stride - size}x", memoryview(data)[: count * stride]
            )
            return [decode(part) for (part,) in parts]
        if stride == size:
            return list(struct.unpack_from(f"={count}{self.code}", data))
        records = struct.iter_unpack(
            f"={self.code}{stride - size}x", memoryview(data)[: count * stride]
        )
        return [value for (value,) in records]

    def encode_many(self, values: Sequence[T]) -> bytes:
        """The bytes of contiguous values."""
        # Module `struct` accepts anything as a bool.
        if self.code not in ("", "?"):
            try:
                return struct.pack(f"={len(values)}{self.code}", *values)
            except (struct.error, OverflowError):
                pass  # found below, to name the element
        return b"".join(map(self.encode, values))


# Of this runtime: in one process, each generated module may have its own.
_DERIVED = f"_derived_by_{__name__}"


def derived(cls: Any) -> dict[Any, Any]:
    """Objects derived from a class (codecs, arrays), stored on it to be freed with it."""
    found: dict[Any, Any] | None = getattr(cls, "__dict__", {}).get(_DERIVED)
    if found is None:
        found = {}
        setattr(cls, _DERIVED, found)
    return found


_CODEC = "codec"


def codec(ctype: type[T]) -> Codec[T]:
    """The codec of a type of this package.

    Scalars become int, bool or float, `char` arrays become bytes up to the first NUL; structs,
    unions and other arrays become instances of their classes, with a copy of the bytes.
    """
    found: Codec[T] | None = getattr(ctype, "__dict__", {}).get(_DERIVED, {}).get(_CODEC)
    if found is None:
        make: Callable[[], Codec[Any]] | None = getattr(ctype, "codec_", None)
        if make is None:
            raise WrongType(f"{ctype!r} is not a value type")
        found = derived(ctype)[_CODEC] = make()
    return found


def codec_of(type_: type[T] | Codec[T]) -> Codec[T]:
    """The codec of a type of this package; a codec is returned unchanged."""
    return type_ if isinstance(type_, Codec) else codec(type_)


def register(ctype: CType, made: Codec[Any]) -> None:
    """Set the codec of a type without a method `codec_`."""
    derived(ctype)[_CODEC] = made


def raw(size: int) -> Codec[bytes]:
    """The codec of untyped bytes."""

    def encode(value: Any) -> bytes:
        data = as_bytes(value)
        if len(data) != size:
            raise WrongValue(f"expected {size} bytes, got {len(data)}")
        return data

    return Codec(size, encode, bytes)


def as_bytes(value: object) -> bytes:
    """A copy of bytes, bytearray or memoryview; WrongType for anything else."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    hint = ": encode() it" if isinstance(value, str) else ""
    raise WrongType(f"expected bytes, got {type(value).__name__}{hint}")


def memory(value: Any) -> memoryview:
    """The memory of a ctypes instance, writable."""
    return memoryview(value).cast("B")


def under(name: str, error: LskelError) -> None:
    """Prefix the error with the name of the field that has the wrong value."""
    error.places.insert(0, name)


def shown(ctype: CType, value: object) -> str:
    """A value of a type as text."""
    show: Callable[[object], str] = getattr(ctype, "format_", repr)
    return show(value)
