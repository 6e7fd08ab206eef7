"""Changing a few fields of BTF in place, all other bytes kept as they are."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from lskel.btf.btf import Btf
from lskel.btf.types import FuncLinkage, Kind, TypeId, VarSecinfo
from lskel.cursor import mark


class BtfEditor:
    """Collects changes to `btf`; `finish` gives the changed one. The original stays as it is."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._raw = bytearray(btf.raw)
        self._mark = mark(btf.order)
        self._dirty = False

    def _pack(self, offset: int, fmt: str, *values: int) -> None:
        struct.pack_into(self._mark + fmt, self._raw, offset, *values)
        self._dirty = True

    def set_datasec(self, type_id: TypeId, size: int, variables: Sequence[VarSecinfo]) -> None:
        """Give a DATASEC its size and its variables (as many as it has)."""
        offset = self._btf.offset_of(type_id)
        self._pack(offset + 8, "I", size)
        for number, var in enumerate(variables):
            self._pack(offset + 12 + 12 * number, "III", var.type, var.offset, var.size)

    def set_func_linkage(self, type_id: TypeId, linkage: FuncLinkage) -> None:
        """Give a FUNC another linkage."""
        self._pack(self._btf.offset_of(type_id) + 4, "I", Kind.FUNC << 24 | linkage)

    def finish(self) -> Btf:
        """The changed BTF, or the very same where nothing was changed."""
        return Btf(bytes(self._raw)) if self._dirty else self._btf
