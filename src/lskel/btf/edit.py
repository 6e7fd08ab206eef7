"""Changing fields of BTF in place, and appending types; all other bytes are unchanged."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from lskel.btf.btf import Btf
from lskel.btf.build import BtfBuilder
from lskel.btf.kinds import Kind
from lskel.btf.types import FuncLinkage, TypeId, VarLinkage, VarSecinfo
from lskel.cursor import ByteOrder

_TYPE_HEADER = 12


class BtfEditor(BtfBuilder):
    """Collects changes to `btf`; `finish` returns the result. The original is unchanged."""

    def __init__(self, btf: Btf) -> None:
        super().__init__(btf.order)
        self._btf = btf
        self._header = bytearray(btf.raw[: btf.header_size])
        self._types = bytearray(btf.raw[btf.type_start : btf.type_end])
        self._layout = btf.layout
        self._strings = bytearray(btf.raw[btf.str_start : btf.str_end])
        self._next = btf.end_id
        self._changed = False

    def _pack(self, type_id: TypeId, at: int, fmt: str, *values: int) -> None:
        offset = self._btf.offset_of(type_id) - self._btf.type_start + at
        struct.pack_into(self._mark + fmt, self._types, offset, *values)
        self._changed = True

    def set_datasec(self, type_id: TypeId, size: int, variables: Sequence[VarSecinfo]) -> None:
        """Set the size and the variables of a DATASEC (the number of variables is fixed)."""
        self._pack(type_id, 8, "I", size)
        for number, var in enumerate(variables):
            self._pack(type_id, _TYPE_HEADER + 12 * number, "III", *var)

    def set_name(self, type_id: TypeId, name: str) -> None:
        """Set the name of a type."""
        self._pack(type_id, 0, "I", self.string(name))

    def drop_layout(self) -> None:
        """Remove the layout section; `BadObject` by `finish` if it is needed to read the types."""
        self._changed = self._changed or bool(self._layout)
        self._layout = b""

    def set_func_linkage(self, type_id: TypeId, linkage: FuncLinkage) -> None:
        """Set the linkage of a FUNC."""
        self._pack(type_id, 4, "I", Kind.FUNC << 24 | linkage)

    def set_var_linkage(self, type_id: TypeId, linkage: VarLinkage) -> None:
        """Set the linkage of a VAR."""
        self._pack(type_id, _TYPE_HEADER, "I", linkage)

    def set_var_type(self, type_id: TypeId, new: TypeId) -> None:
        """Set the type of a VAR."""
        self._pack(type_id, 8, "I", new)

    def set_param_name(self, type_id: TypeId, number: int, name: str) -> None:
        """Set the name of a parameter of a FUNC_PROTO."""
        self._pack(type_id, _TYPE_HEADER + 8 * number, "I", self.string(name))

    def finish(self) -> Btf:
        """The changed BTF, or the original if nothing was changed."""
        if not self._changed and self._next == self._btf.end_id:
            return self._btf
        return Btf(self.raw())


class BtfAddition(NamedTuple):
    """What `extended` has after the types and the strings of another BTF."""

    types: bytes
    strings: bytes

    @staticmethod
    def between(btf: Btf | None, extended: Btf) -> BtfAddition:
        """What was appended to `btf`; to nothing if None."""
        types = 0 if btf is None else btf.type_end - btf.type_start
        strings = 1 if btf is None else btf.str_end - btf.str_start
        raw = extended.raw
        return BtfAddition(
            raw[extended.type_start + types : extended.type_end],
            raw[extended.str_start + strings : extended.str_end],
        )

    def to(self, btf: Btf | None, order: ByteOrder) -> bytes:
        """The extended BTF; it is not checked."""
        builder = BtfBuilder(order) if btf is None else BtfEditor(btf)
        return builder.raw(self.types, self.strings)
