"""Builder of BTF in either byte order, of an object or split off from a base.

Each ``add_*`` appends a type and returns its id; types may refer to ids that come later. What is
built is valid as long as the caller's numbers are. To make exactly one thing wrong, change the raw
record of a type, or a raw field of the header::

    btf = BtfBuilder()
    number = btf.add_int("int", 4, SIGNED)
    btf.add_struct("pair", 8, [("a", number, 0), ("b", number, 32)])
    btf.bytes("big")                                    # valid
    btf[number].kind = 31                               # a kind that there is not
    btf[2].vlen = 3                                     # more members than bytes
    btf[2].words[1] = 99                                # member "a" has a type that there is not
    btf.bytes(header={"str_len": 1 << 30})

Source: Documentation/bpf/btf.rst and include/uapi/linux/btf.h of the kernel.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lskel.btf.btf import Btf
from lskel.btf.kinds import Kind
from lskel.btf.types import FuncLinkage, TypeId, VarLinkage
from lskel.cursor import ByteOrder, mark

MAGIC = 0xEB9F
HEADER_SIZE = 24
_HEADER = {
    "magic": "H",
    "version": "B",
    "flags": "B",
    "hdr_len": "I",
    "type_off": "I",
    "type_len": "I",
    "str_off": "I",
    "str_len": "I",
}
# Of headers with a layout section (Linux 7.3).
_LAYOUT = {"layout_off": "I", "layout_len": "I"}
# Bytes after the header of a type of each kind: once, and per vlen (Linux 7.3, tools/lib/bpf).
LAYOUT: dict[int, tuple[int, int]] = {
    **dict.fromkeys(range(Kind.UNKN, Kind.ENUM64 + 1), (0, 0)),
    **dict.fromkeys((Kind.INT, Kind.VAR, Kind.DECL_TAG), (4, 0)),
    Kind.ARRAY: (12, 0),
    **dict.fromkeys((Kind.ENUM, Kind.FUNC_PROTO), (0, 8)),
    **dict.fromkeys((Kind.STRUCT, Kind.UNION, Kind.DATASEC, Kind.ENUM64), (0, 12)),
}

# (name, type, offset in bits) of a plain member; a bit-field's width in bits is the fourth.
Field = tuple[str, int, int] | tuple[str, int, int, int]


@dataclass(slots=True)
class Record:
    """One type as its raw words; all of it may be changed until `BtfBuilder.bytes` is called.

    `size` is the third word: a size, or the type referred to. `words` follow the 12-byte header.
    `vlen` and `kind_flag` are what the info word claims, whatever `words` holds.
    """

    kind: int
    name_off: int = 0
    vlen: int = 0
    kind_flag: bool = False
    size: int = 0
    words: list[int] = field(default_factory=list)

    def raw(self) -> list[int]:
        """The unsigned 32-bit words."""
        info = self.kind_flag << 31 | (self.kind & 0x7F) << 24 | self.vlen & 0xFFFFFF
        words = (self.name_off, info, self.size, *self.words)
        return [word & 0xFFFFFFFF for word in words]


class BtfBuilder:
    """Types and strings in the order they were added; `base` makes it split BTF (of a module)."""

    def __init__(self, base: BtfBuilder | None = None) -> None:
        self.base = base
        self.first_id: int = base.first_id + len(base.records) if base else 1
        self.records: list[Record] = []
        # Only BTF without a base begins with the empty string.
        self.strings = bytearray() if base else bytearray(1)
        # What the layout section says, by kind; none if empty.
        self.layout: Mapping[int, tuple[int, int]] = {}
        self._offsets: dict[str, int] = {"": 0}

    def __getitem__(self, type_id: int) -> Record:
        """The raw record of a type of this builder (not of its base)."""
        return self.records[type_id - self.first_id]

    @property
    def strings_end(self) -> int:
        """The offset that the next string gets: bytes of strings, the base's included."""
        return (self.base.strings_end if self.base else 0) + len(self.strings)

    def string(self, text: str) -> int:
        """The offset of `text` in the string section; it is added at the first call."""
        if self.base and text in self.base._offsets:
            return self.base._offsets[text]
        if text not in self._offsets:
            self._offsets[text] = self.strings_end
            self.strings += text.encode(errors="surrogateescape") + b"\0"
        return self._offsets[text]

    def add(
        self,
        kind: int,
        name: str = "",
        *,
        size: int = 0,
        vlen: int = 0,
        kind_flag: bool = False,
        words: Iterable[int] = (),
    ) -> TypeId:
        """Append any record."""
        self.records.append(Record(kind, self.string(name), vlen, kind_flag, size, list(words)))
        return TypeId(self.first_id + len(self.records) - 1)

    def add_int(
        self, name: str, size: int, encoding: int = 0, *, bits: int | None = None, offset: int = 0
    ) -> TypeId:
        """INT of `size` bytes; `encoding` as in `IntEncoding`."""
        bits = 8 * size if bits is None else bits
        return self.add(Kind.INT, name, size=size, words=[encoding << 24 | offset << 16 | bits])

    def add_float(self, name: str, size: int) -> TypeId:
        """FLOAT."""
        return self.add(Kind.FLOAT, name, size=size)

    def add_ptr(self, to: int) -> TypeId:
        """PTR."""
        return self.add(Kind.PTR, size=to)

    def add_const(self, to: int) -> TypeId:
        """CONST."""
        return self.add(Kind.CONST, size=to)

    def add_volatile(self, to: int) -> TypeId:
        """VOLATILE."""
        return self.add(Kind.VOLATILE, size=to)

    def add_restrict(self, to: int) -> TypeId:
        """RESTRICT."""
        return self.add(Kind.RESTRICT, size=to)

    def add_typedef(self, name: str, to: int) -> TypeId:
        """TYPEDEF."""
        return self.add(Kind.TYPEDEF, name, size=to)

    def add_type_tag(self, name: str, to: int, *, attribute: bool = False) -> TypeId:
        """TYPE_TAG."""
        return self.add(Kind.TYPE_TAG, name, size=to, kind_flag=attribute)

    def add_decl_tag(
        self, name: str, to: int, component: int = -1, *, attribute: bool = False
    ) -> TypeId:
        """DECL_TAG of a member or parameter, or of the whole."""
        return self.add(Kind.DECL_TAG, name, size=to, kind_flag=attribute, words=[component])

    def add_array(self, element: int, count: int, index: int = 0) -> TypeId:
        """ARRAY; `index` is the type of its indexes."""
        return self.add(Kind.ARRAY, words=[element, index, count])

    def add_struct(self, name: str, size: int, members: Iterable[Field] = ()) -> TypeId:
        """STRUCT of `size` bytes; one bit-field makes the kind flag."""
        return self._composite(Kind.STRUCT, name, size, members)

    def add_union(self, name: str, size: int, members: Iterable[Field] = ()) -> TypeId:
        """UNION of `size` bytes."""
        return self._composite(Kind.UNION, name, size, members)

    def _composite(self, kind: Kind, name: str, size: int, members: Iterable[Field]) -> TypeId:
        fields = list(members)
        words: list[int] = []
        for member in fields:
            width = member[3] if len(member) == 4 else 0
            words += (self.string(member[0]), member[1], width << 24 | member[2])
        kind_flag = any(len(member) == 4 for member in fields)
        return self.add(kind, name, size=size, vlen=len(fields), kind_flag=kind_flag, words=words)

    def add_enum(
        self, name: str, values: Iterable[tuple[str, int]], *, size: int = 4, signed: bool = False
    ) -> TypeId:
        """ENUM."""
        words: list[int] = []
        for label, value in values:
            words += (self.string(label), value)
        vlen = len(words) // 2
        return self.add(Kind.ENUM, name, size=size, vlen=vlen, kind_flag=signed, words=words)

    def add_enum64(
        self, name: str, values: Iterable[tuple[str, int]], *, size: int = 8, signed: bool = False
    ) -> TypeId:
        """ENUM64."""
        words: list[int] = []
        for label, value in values:
            words += (self.string(label), value, value >> 32)
        vlen = len(words) // 3
        return self.add(Kind.ENUM64, name, size=size, vlen=vlen, kind_flag=signed, words=words)

    def add_fwd(self, name: str, *, union: bool = False) -> TypeId:
        """FWD."""
        return self.add(Kind.FWD, name, kind_flag=union)

    def add_func_proto(self, returns: int, params: Iterable[tuple[str, int]] = ()) -> TypeId:
        """FUNC_PROTO; a last parameter ``("", 0)`` makes it variadic."""
        words: list[int] = []
        for name, type_id in params:
            words += (self.string(name), type_id)
        return self.add(Kind.FUNC_PROTO, size=returns, vlen=len(words) // 2, words=words)

    def add_func(self, name: str, proto: int, linkage: int = FuncLinkage.GLOBAL) -> TypeId:
        """FUNC."""
        return self.add(Kind.FUNC, name, size=proto, vlen=linkage)

    def add_var(
        self, name: str, type_id: int, linkage: int = VarLinkage.GLOBAL_ALLOCATED
    ) -> TypeId:
        """VAR."""
        return self.add(Kind.VAR, name, size=type_id, words=[linkage])

    def add_datasec(
        self, name: str, size: int, variables: Iterable[tuple[int, int, int]] = ()
    ) -> TypeId:
        """DATASEC of (id of VAR or FUNC, offset in bytes, size in bytes)."""
        words = [word for variable in variables for word in variable]
        return self.add(Kind.DATASEC, name, size=size, vlen=len(words) // 3, words=words)

    def bytes(
        self, order: ByteOrder = "little", *, header: Mapping[str, int] | None = None
    ) -> bytes:
        """The .BTF section; `header` overrides raw fields of the header."""
        words = [word for record in self.records for word in record.raw()]
        types = 4 * len(words)
        layout = b"".join(
            bytes((*self.layout.get(kind, (0, 0)), 0, 0))
            for kind in range(max(self.layout, default=-1) + 1)
        )
        fields = _HEADER | _LAYOUT if layout else _HEADER
        values = {
            "magic": MAGIC,
            "version": 1,
            "flags": 0,
            "hdr_len": HEADER_SIZE + (8 if layout else 0),
            "type_off": 0,
            "type_len": types,
            "str_off": types + len(layout),
            "str_len": len(self.strings),
            "layout_off": types,
            "layout_len": len(layout),
        }
        unknown = (header or {}).keys() - values.keys()
        assert not unknown, f"header fields that do not exist: {unknown}"
        values |= header or {}
        sign = mark(order)
        return (
            struct.pack(sign + "".join(fields.values()), *(values[name] for name in fields))
            + struct.pack(f"{sign}{len(words)}I", *words)
            + layout
            + self.strings
        )

    def btf(self, order: ByteOrder = "little") -> Btf:
        """What the reader makes of it."""
        return Btf(self.bytes(order), self.base.btf(order) if self.base else None)
