"""The kinds of BTF as data. Type references are ids into one BTF; id 0 is `void`.

Kinds without fields of their own are plain subclasses: creating a dataclass takes 1 ms.

Source: Documentation/bpf/btf.rst and include/uapi/linux/btf.h of the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, NamedTuple, NewType

from lskel.btf.kinds import Kind

TypeId = NewType("TypeId", int)
VOID = TypeId(0)


class FuncLinkage(IntEnum):
    """Linkage of a FUNC, in its vlen bits."""

    STATIC = 0
    GLOBAL = 1
    EXTERN = 2


class VarLinkage(IntEnum):
    """Linkage of a VAR."""

    STATIC = 0
    GLOBAL_ALLOCATED = 1
    GLOBAL_EXTERN = 2


class IntEncoding(IntEnum):
    """Encoding bits of an INT."""

    UNSIGNED = 0
    SIGNED = 1
    CHAR = 2
    BOOL = 4


@dataclass(frozen=True, slots=True)
class Type:
    """Base of all kinds; `name` is empty for anonymous types."""

    kind: ClassVar[Kind] = Kind.UNKN
    name: str


class Void(Type):
    """Type id 0."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class UnknownType(Type):
    """A type of a newer kind, which has no meaning here; `number` is the kind's."""

    number: int


@dataclass(frozen=True, slots=True)
class Int(Type):
    """An integer of `size` bytes; `bits` and `offset` (in bits) are only special in old BTF."""

    kind: ClassVar[Kind] = Kind.INT
    size: int
    encoding: int
    offset: int
    bits: int

    @property
    def signed(self) -> bool:
        """Whether it is signed."""
        return bool(self.encoding & IntEncoding.SIGNED)

    @property
    def is_bool(self) -> bool:
        """Whether it is C's _Bool."""
        return bool(self.encoding & IntEncoding.BOOL)

    @property
    def is_text(self) -> bool:
        """Whether an array of it is text: C's `char`, not signed or unsigned char (bytes)."""
        return self.size == 1 and (self.name == "char" or bool(self.encoding & IntEncoding.CHAR))


@dataclass(frozen=True, slots=True)
class Float(Type):
    """A floating point number of `size` bytes."""

    kind: ClassVar[Kind] = Kind.FLOAT
    size: int


@dataclass(frozen=True, slots=True)
class RefType(Type):
    """Base of the kinds that only refer to another type."""

    type: TypeId


class Ptr(RefType):
    """A pointer; eight bytes wide in BPF."""

    __slots__ = ()
    kind = Kind.PTR


class Typedef(RefType):
    """A typedef."""

    __slots__ = ()
    kind = Kind.TYPEDEF


class Volatile(RefType):
    """`volatile`."""

    __slots__ = ()
    kind = Kind.VOLATILE


class Const(RefType):
    """`const`."""

    __slots__ = ()
    kind = Kind.CONST


class Restrict(RefType):
    """`restrict`."""

    __slots__ = ()
    kind = Kind.RESTRICT


@dataclass(frozen=True, slots=True)
class TypeTag(RefType):
    """`__attribute__((btf_type_tag(name)))`; kind_flag: an arbitrary attribute (6.15)."""

    kind: ClassVar[Kind] = Kind.TYPE_TAG
    attribute: bool = False


@dataclass(frozen=True, slots=True)
class DeclTag(RefType):
    """`__attribute__((btf_decl_tag(name)))`; component -1 is the declaration itself."""

    kind: ClassVar[Kind] = Kind.DECL_TAG
    component: int = -1
    attribute: bool = False


@dataclass(frozen=True, slots=True)
class Func(RefType):
    """A function; `type` is its FUNC_PROTO."""

    kind: ClassVar[Kind] = Kind.FUNC
    linkage: int = FuncLinkage.STATIC


@dataclass(frozen=True, slots=True)
class Var(RefType):
    """A variable."""

    kind: ClassVar[Kind] = Kind.VAR
    linkage: int = VarLinkage.STATIC


@dataclass(frozen=True, slots=True)
class ArrayType(Type):
    """`nelems` elements of `type`."""

    kind: ClassVar[Kind] = Kind.ARRAY
    type: TypeId
    index_type: TypeId
    nelems: int


class BtfMember(NamedTuple):
    """A member: `bit_offset` from the start; `bitfield_size` in bits, 0 if not a bit-field."""

    name: str
    type: TypeId
    bit_offset: int
    bitfield_size: int


@dataclass(frozen=True, slots=True)
class CompositeType(Type):
    """Base of STRUCT and UNION."""

    size: int
    members: tuple[BtfMember, ...]


class StructType(CompositeType):
    """A struct of `size` bytes."""

    __slots__ = ()
    kind = Kind.STRUCT


class UnionType(CompositeType):
    """A union of `size` bytes."""

    __slots__ = ()
    kind = Kind.UNION


@dataclass(frozen=True, slots=True)
class Enum(Type):
    """ENUM or ENUM64: `values` are (name, value) in order."""

    kind: ClassVar[Kind] = Kind.ENUM
    size: int
    signed: bool
    values: tuple[tuple[str, int], ...]


class Enum64(Enum):
    """An enum with 64-bit values (6.0)."""

    __slots__ = ()
    kind = Kind.ENUM64


@dataclass(frozen=True, slots=True)
class Fwd(Type):
    """A forward declaration."""

    kind: ClassVar[Kind] = Kind.FWD
    is_union: bool


class Param(NamedTuple):
    """A parameter; the last one of a variadic function has neither name nor type."""

    name: str
    type: TypeId


@dataclass(frozen=True, slots=True)
class FuncProto(Type):
    """A function's signature; `type` is what it returns."""

    kind: ClassVar[Kind] = Kind.FUNC_PROTO
    type: TypeId
    params: tuple[Param, ...]


class VarSecinfo(NamedTuple):
    """A variable of a section: VAR (or extern FUNC) id, offset and size in bytes."""

    type: TypeId
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Datasec(Type):
    """An ELF section with variables; its `size` and their offsets are 0 as clang leaves them."""

    kind: ClassVar[Kind] = Kind.DATASEC
    size: int
    vars: tuple[VarSecinfo, ...]


MODIFIERS = (Const, Volatile, Restrict, TypeTag)
