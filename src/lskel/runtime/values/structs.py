"""Structs and unions with explicit member offsets."""

from __future__ import annotations

import ctypes
import sys
from itertools import count

from lskel.btf.integers import integer_refusal
from lskel.errors import LskelError, UnknownName, UsageError, WrongType, WrongValue, unknown
from lskel.runtime.values.arrays import Array, array, is_text, text
from lskel.runtime.values.codec import Codec, codec, memory, shown, under
from lskel.runtime.values.scalars import boolean, truth, u8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, TypeAlias, TypeVar

    from typing_extensions import Self

    from lskel.runtime.values.codec import Buffer, CType

    C = TypeVar("C", bound="type[Composite]")
    Field: TypeAlias = "tuple[str, CType, int] | tuple[str, Bits]"

    class _Memory:
        """The ctypes interface of structs, with the types of a struct field of a struct."""

        def __get__(self, instance: object, owner: object) -> Self: ...
        def __set__(
            self, instance: object, value: Self | tuple[Any, ...] | dict[str, Any]
        ) -> None: ...
        def __buffer__(self, flags: int, /) -> memoryview: ...
        @classmethod
        def from_buffer(cls, source: Any, offset: int = 0) -> Self: ...
        @classmethod
        def from_buffer_copy(cls, source: Buffer, offset: int = 0) -> Self: ...

    class _Structure(_Memory): ...

    class _Union(_Memory): ...

else:
    _Structure, _Union = ctypes.Structure, ctypes.Union


class Bits:
    """Descriptor of a bit-field: `width` bits at bit `offset` of a struct, of type `ctype`.

    Bits are counted as in BTF: bit 0 is the lowest bit of the first byte on little endian, the
    highest on big endian. Writing is a read-modify-write of the bytes around.
    """

    def __init__(self, offset: int, width: int, ctype: CType) -> None:
        self.offset = offset
        self.width = width
        self.ctype = ctype
        self._first, skipped = divmod(offset, 8)
        self._last = -(-(offset + width) // 8)
        unused = 8 * (self._last - self._first) - skipped - width
        self._shift = skipped if sys.byteorder == "little" else unused
        self._mask = (1 << width) - 1
        self._signed = codec(ctype).decode(b"\xff" * ctypes.sizeof(ctype)) < 0
        self._sign = 1 << width - 1 if self._signed else 0
        self._truth = ctype is boolean

    def __get__(self, instance: Any, owner: object = None) -> Any:
        if instance is None:
            return self
        data = memory(instance)[self._first : self._last]
        value = int.from_bytes(data, sys.byteorder) >> self._shift & self._mask
        return bool(value) if self._truth else (value ^ self._sign) - self._sign

    def __set__(self, instance: Any, value: Any) -> None:
        number = truth(value) if self._truth else self._checked(value)
        place = memory(instance)[self._first : self._last]
        around = int.from_bytes(place, sys.byteorder) & ~(self._mask << self._shift)
        bits = (number & self._mask) << self._shift
        place[:] = (around | bits).to_bytes(len(place), sys.byteorder)

    def _checked(self, value: Any) -> int:
        name = f"{'s' if self._signed else 'u'}{self.width}"
        if not hasattr(value, "__index__"):
            raise integer_refusal(name, value, self.width, signed=self._signed)
        number: int = value.__index__()
        if not -self._sign <= number <= self._mask - self._sign:
            raise integer_refusal(name, number, self.width, signed=self._signed)
        return number

    def moved(self, offset: int) -> Bits:
        """The same bit-field in an outer struct that has this one at `offset` bits."""
        return Bits(self.offset + offset, self.width, self.ctype)


class Composite:
    """The base of structs and unions.

    The constructor takes values of members, in order or by name; other members are 0. Equal to an
    instance of its class with equal members; padding is ignored. It is hashed by value, so that it
    can be a dict key; do not change one that is.
    """

    __slots__ = ()
    # All members, including those of anonymous ones: for assignments and repr.
    _lifted_: ClassVar[list[tuple[str, CType | Bits]]] = []
    _members_: ClassVar[dict[str, CType]] = {}
    _puts_: ClassVar[dict[str, Callable[[Any, Any], None]]] = {}
    _most_: ClassVar[int | None] = None
    # Where else a name exists, for the error; "" if unknown.
    elsewhere_: ClassVar[Callable[[str], str]] = lambda _: ""
    # What errors call its members.
    noun_: ClassVar[str] = "member"

    def __init__(self, /, *values: Any, **named: Any) -> None:
        if len(values) > (len(self._members_) if self._most_ is None else self._most_):
            raise WrongValue(f"{type(self).__name__} takes fewer than {len(values)} values")
        for name, value in zip(self._members_, values, strict=False):
            if name in named:
                raise UsageError(f"{type(self).__name__}.{name} is set twice")
            setattr(self, name, value)
        for name, value in named.items():
            setattr(self, name, value)

    if not TYPE_CHECKING:

        def __setattr__(self, name, value):
            put = self._puts_.get(name)
            if put is None:
                raise self._unknown(name)
            try:
                put(self, value)
            except LskelError as error:
                under(f"{type(self).__name__}.{name}", error)
                raise

        def __getattr__(self, name):
            raise self._unknown(name)

    def _unknown(self, name: str) -> UnknownName:
        cls = type(self)
        error = unknown(cls.noun_, name, self._members_)
        error.places.append(cls.__name__)
        if place := cls.elsewhere_(name):
            error.hint = f"it is in {place}"
        return error

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Composite) and other._members_ is self._members_:
            return all(getattr(self, name) == getattr(other, name) for name in self._members_)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self._members_))

    def __repr__(self) -> str:
        texts = (f"{name}={shown(t, getattr(self, name))}" for name, t in self._members_.items())
        return f"{type(self).__name__}({', '.join(texts)})"

    def asdict(self) -> dict[str, Any]:
        """The values of all members, as nested dicts, lists, numbers and bytes."""
        return {name: _plain(getattr(self, name)) for name in self._members_}

    @classmethod
    def codec_(cls) -> Codec[Any]:
        """As `codec` wants it."""

        def encode(value: Any) -> bytes:
            if isinstance(value, cls):
                return bytes(value)  # type: ignore[call-overload, no-any-return]
            if isinstance(value, dict):
                return bytes(cls(**value))  # type: ignore[call-overload, no-any-return]
            if isinstance(value, (tuple, list)):
                return bytes(cls(*value))  # type: ignore[call-overload, no-any-return]
            raise WrongType(f"expected {cls.__name__}, dict or tuple, got {type(value).__name__}")

        return Codec(ctypes.sizeof(cls), encode, cls.from_buffer_copy)  # type: ignore[arg-type, attr-defined]


def _plain(value: Any) -> Any:
    if isinstance(value, Composite):
        return value.asdict()
    # Frozen values have tuples for arrays, heads of structs have lists.
    return [_plain(item) for item in value] if isinstance(value, (Array, tuple, list)) else value


class Struct(Composite, _Structure):
    """Base of structs; `layout` defines the members."""

    _pack_, _layout_ = 1, "ms"


class Union(Composite, _Union):
    """Base of unions. A positional value is that of the first member."""

    _pack_, _layout_ = 1, "ms"
    _most_ = 1


# Names of anonymous members: not C identifiers, and unique, since ctypes makes the members of
# anonymous structs members of the outer struct.
_hidden = map(str, count())


def layout(size: int, *fields: Field) -> Callable[[C], C]:
    """Decorator that defines the members and size in bytes of a subclass of `Struct` or `Union`.

    Members, in order: (name, type, offset in bytes), (name, `Bits`), or ("", class, offset) for an
    anonymous struct or union. ValueError if they overlap or do not fit.
    """

    def place(cls: C) -> C:
        in_union = issubclass(cls, Union)
        raw: list[tuple[str, CType]] = []
        anonymous: list[str] = []
        lifted: list[tuple[str, CType | Bits]] = []
        end = 0
        for field in fields:
            if len(field) == 2:
                lifted.append(field)
                continue
            name, ctype, offset = field
            if offset > end and not in_union:
                raw.append((next(_hidden), u8 * (offset - end)))
            elif offset != (0 if in_union else end):
                raise ValueError(f"{cls.__name__}.{name} cannot be at {offset}")
            if name:
                lifted.append((name, ctype))
            else:
                name = next(_hidden)
                anonymous.append(name)
                for inner, member in ctype._lifted_:
                    moved = isinstance(member, Bits)
                    lifted.append((inner, member.moved(8 * offset) if moved else member))
            raw.append((name, ctype))
            end = offset + ctypes.sizeof(ctype)
        if in_union or size > end:
            raw.append((next(_hidden), u8 * (size if in_union else size - end)))
        _complete(cls, size, raw, anonymous)
        cls._lifted_ = lifted
        cls._members_, cls._puts_ = {}, {}
        for name, member in lifted:
            if isinstance(member, Bits):
                setattr(cls, name, member)
                cls._members_[name], cls._puts_[name] = member.ctype, member.__set__
            else:
                cls._members_[name], cls._puts_[name] = member, _putter(getattr(cls, name), member)
        return cls

    return place


def _complete(cls: Any, size: int, fields: list[tuple[str, CType]], anonymous: list[str]) -> None:
    """Define the ctypes fields."""
    cls._anonymous_ = anonymous
    cls._fields_ = fields
    if ctypes.sizeof(cls) != size:
        raise ValueError(f"{cls.__name__} has {ctypes.sizeof(cls)} bytes, expected {size}")


def _putter(field: Any, ctype: CType) -> Callable[[Any, Any], None]:
    encode, decode = codec(ctype).encode, codec(ctype).decode
    if is_text(ctype):
        # ctypes would stop at the first NUL, and leave the bytes after it.
        first, last = field.offset, field.offset + field.size

        def put(instance: Any, value: Any) -> None:
            memory(instance)[first:last] = encode(value)

        return put
    store = field.__set__
    return lambda instance, value: store(instance, decode(encode(value)))


def resized(cls: Any, size: int, last: tuple[str, int] | None) -> Any:
    """The class of a section of variables with another size: without those that do not fit.

    Its `last` variable, an array, has that many elements; None if that is unknown.
    """
    fields: list[Field] = []
    for name, ctype in cls._members_.items():
        offset = getattr(cls, name).offset
        if last is not None and name == last[0]:
            element = ctype._type_
            ctype = text(last[1]) if is_text(ctype) else array(element, last[1])
        if offset + ctypes.sizeof(ctype) <= size:
            fields.append((name, ctype, offset))
    made = type(cls.__name__, (Struct,), {"__module__": cls.__module__, "__doc__": cls.__doc__})
    return layout(size, *fields)(made)
