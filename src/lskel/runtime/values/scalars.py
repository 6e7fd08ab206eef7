"""Scalars: C integers, bool, floating point, pointers, enums and 128-bit integers."""

from __future__ import annotations

import ctypes
import struct
import sys

from lskel.btf.integers import bool_refusal, integer_refusal
from lskel.errors import OutOfRange, WrongType
from lskel.runtime.values.codec import Codec, codec, derived, register

TYPE_CHECKING = False
if TYPE_CHECKING:
    from enum import IntEnum
    from typing import Any, ClassVar

    from lskel.runtime.values.codec import CType

u8, u16, u32, u64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64
s8, s16, s32, s64 = ctypes.c_int8, ctypes.c_int16, ctypes.c_int32, ctypes.c_int64
boolean, f32, f64 = ctypes.c_bool, ctypes.c_float, ctypes.c_double


def _int_codec(name: str, code: str) -> Codec[int]:
    form = struct.Struct(f"={code}")
    pack, unpack = form.pack, form.unpack
    bits, signed = 8 * form.size, code.islower()

    def encode(value: Any) -> bytes:
        try:
            return pack(value)
        except struct.error:
            raise integer_refusal(name, value, bits, signed=signed) from None

    return Codec(form.size, encode, lambda data: unpack(data)[0], code)


def truth(value: Any) -> bool:
    """A C bool, from True, False, 0 or 1."""
    if not isinstance(value, int) or value not in (0, 1):
        raise bool_refusal(value)
    return bool(value)


def _float_codec(name: str, code: str) -> Codec[float]:
    form = struct.Struct(f"={code}")
    pack, unpack = form.pack, form.unpack

    def encode(value: Any) -> bytes:
        try:
            return pack(value)
        except struct.error:
            raise WrongType(f"{name}: expected a number, got {type(value).__name__}") from None
        except OverflowError:
            raise OutOfRange(f"{value} does not fit into {name}") from None

    return Codec(form.size, encode, lambda data: unpack(data)[0], code)


for _ctype, _made in (
    *((u8, _int_codec("u8", "B")), (s8, _int_codec("s8", "b"))),
    *((u16, _int_codec("u16", "H")), (s16, _int_codec("s16", "h"))),
    *((u32, _int_codec("u32", "I")), (s32, _int_codec("s32", "i"))),
    *((u64, _int_codec("u64", "Q")), (s64, _int_codec("s64", "q"))),
    *((f32, _float_codec("f32", "f")), (f64, _float_codec("f64", "d"))),
    (
        boolean,
        Codec(1, lambda value: b"\1" if truth(value) else b"\0", lambda data: any(data), "?"),
    ),
):
    register(_ctype, _made)


# ctypes reads fields of direct subclasses of _SimpleCData as numbers.
class pointer(ctypes._SimpleCData):  # type: ignore[type-arg]
    """An address: read as int, printed in hexadecimal."""

    _type_ = "Q"

    @classmethod
    def codec_(cls) -> Codec[int]:
        """The codec, for `codec`."""
        return _int_codec("pointer", "Q")

    @staticmethod
    def format_(value: int) -> str:
        """As `shown` wants it."""
        return f"{value:#x}"


class s128(ctypes.Array):  # type: ignore[type-arg]
    """A signed __int128: its bytes, which `Bits`, arrays and `codec` convert to int."""

    _type_, _length_ = u8, 16
    signed: ClassVar[bool] = True

    @classmethod
    def codec_(cls) -> Codec[int]:
        """The codec, for `codec`."""
        name, signed = cls.__name__, cls.signed

        def encode(value: Any) -> bytes:
            try:
                number: int = value.__index__()
                return number.to_bytes(16, sys.byteorder, signed=signed)
            except (AttributeError, OverflowError):
                raise integer_refusal(name, value, 128, signed=signed) from None

        return Codec(16, encode, lambda data: int.from_bytes(data, sys.byteorder, signed=signed))


class u128(s128):
    """An unsigned __int128."""

    _type_, _length_ = u8, 16
    signed = False


def enum(names: type[IntEnum], ctype: CType) -> CType:
    """The type of an enum stored as `ctype`: read as int, printed by name."""
    found: CType | None = derived(names).get(ctype)
    if found is None:
        members = names._value2member_map_

        def shown(value: int) -> str:
            member = members.get(value)
            return repr(value) if member is None else f"{names.__name__}.{member.name}"

        namespace = {"_type_": ctype._type_, "format_": staticmethod(shown), "names_": members}
        found = derived(names)[ctype] = type(names.__name__, (ctypes._SimpleCData,), namespace)
        register(found, codec(ctype))
    return found
