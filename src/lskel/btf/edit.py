"""Changing a few fields of BTF in place, and appending types; all other bytes stay as they are."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from lskel.btf.btf import HEADER, Btf
from lskel.btf.kinds import Kind
from lskel.btf.types import FuncLinkage, TypeId, VarLinkage, VarSecinfo
from lskel.cursor import mark

_TYPE_HEADER = 12


class BtfEditor:
    """Collects changes to `btf`; `finish` gives the changed one. The original stays as it is."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._mark = mark(btf.order)
        self._header = bytearray(btf.raw[: btf.header_size])
        self._types = bytearray(btf.raw[btf.type_start : btf.type_end])
        self._strings = bytearray(btf.raw[btf.str_start : btf.str_end])
        self._offsets: dict[str, int] = {}
        self._added = 0
        self._dirty = False

    def _pack(self, type_id: TypeId, at: int, fmt: str, *values: int) -> None:
        offset = self._btf.offset_of(type_id) - self._btf.type_start + at
        struct.pack_into(self._mark + fmt, self._types, offset, *values)
        self._dirty = True

    def set_datasec(self, type_id: TypeId, size: int, variables: Sequence[VarSecinfo]) -> None:
        """Give a DATASEC its size and its variables (as many as it has)."""
        self._pack(type_id, 8, "I", size)
        for number, var in enumerate(variables):
            self._pack(type_id, _TYPE_HEADER + 12 * number, "III", *var)

    def set_func_linkage(self, type_id: TypeId, linkage: FuncLinkage) -> None:
        """Give a FUNC another linkage."""
        self._pack(type_id, 4, "I", Kind.FUNC << 24 | linkage)

    def set_var_linkage(self, type_id: TypeId, linkage: VarLinkage) -> None:
        """Give a VAR another linkage."""
        self._pack(type_id, _TYPE_HEADER, "I", linkage)

    def set_var_type(self, type_id: TypeId, new: TypeId) -> None:
        """Give a VAR another type."""
        self._pack(type_id, 8, "I", new)

    def set_param_name(self, type_id: TypeId, number: int, name: str) -> None:
        """Give a parameter of a FUNC_PROTO a name."""
        self._pack(type_id, _TYPE_HEADER + 8 * number, "I", self._string(name))

    def add_int(self, name: str, size: int, encoding: int) -> TypeId:
        """Append an INT of `size` bytes."""
        return self._append("IIII", name, Kind.INT << 24, size, encoding << 24 | size * 8)

    def add_var(self, name: str, type_id: TypeId, linkage: VarLinkage) -> TypeId:
        """Append a VAR."""
        return self._append("IIII", name, Kind.VAR << 24, type_id, linkage)

    def _append(self, fmt: str, name: str, *values: int) -> TypeId:
        self._types += struct.pack(self._mark + fmt, self._string(name), *values)
        self._added += 1
        self._dirty = True
        return TypeId(self._btf.end_id + self._added - 1)

    def _string(self, text: str) -> int:
        if text not in self._offsets:
            self._offsets[text] = self._place(text)
        return self._offsets[text]

    def _place(self, text: str) -> int:
        """Where the strings have a text already, or now."""
        wanted = b"\0" + text.encode() + b"\0"
        known = self._strings.find(wanted)
        if known >= 0:
            return known + 1
        self._strings += wanted[1:]
        return len(self._strings) - len(wanted) + 1

    def finish(self) -> Btf:
        """The changed BTF, or the very same where nothing was changed."""
        if not self._dirty:
            return self._btf
        fields = list(struct.unpack_from(self._mark + HEADER, self._header))
        fields[4:] = [0, len(self._types), len(self._types), len(self._strings)]
        struct.pack_into(self._mark + HEADER, self._header, 0, *fields)
        return Btf(bytes(self._header + self._types + self._strings))
