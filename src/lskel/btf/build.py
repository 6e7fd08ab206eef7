"""Writing BTF, type by type (Documentation/bpf/btf.rst of the kernel)."""

from __future__ import annotations

import struct

from lskel.btf.btf import HEADER, HEADER_SIZE, LAYOUT, LAYOUT_SIZE, MAGIC, VERSION
from lskel.btf.kinds import Kind
from lskel.btf.types import IntEncoding, TypeId, VarLinkage
from lskel.cursor import ByteOrder, mark


class BtfBuilder:
    """BTF under construction; ids start at 1, or continue those of the edited BTF."""

    def __init__(self, order: ByteOrder) -> None:
        self._mark = mark(order)
        start = (MAGIC, VERSION, 0, HEADER_SIZE, 0, 0, 0, 0)
        self._header = bytearray(struct.pack(self._mark + HEADER, *start))
        self._types = bytearray()
        self._layout = b""
        self._strings = bytearray(1)
        self._next = 1
        self._offsets: dict[str, int] = {"": 0}

    def add(self, kind: Kind, name: str, vlen: int, size_or_type: int, *words: int) -> TypeId:
        """Append a type: `vlen` is the linkage of a FUNC, `words` follow the header."""
        fields = (self.string(name), kind << 24 | vlen, size_or_type, *words)
        self._types += struct.pack(f"{self._mark}{len(fields)}I", *fields)
        self._next += 1
        return TypeId(self._next - 1)

    def add_int(
        self, name: str = "int", size: int = 4, encoding: IntEncoding = IntEncoding.SIGNED
    ) -> TypeId:
        """Append an INT of `size` bytes."""
        return self.add(Kind.INT, name, 0, size, encoding << 24 | size * 8)

    def add_var(self, name: str, type_id: TypeId, linkage: VarLinkage) -> TypeId:
        """Append a VAR."""
        return self.add(Kind.VAR, name, 0, type_id, linkage)

    def string(self, text: str) -> int:
        """The offset of a string, which is added if it is new."""
        if text not in self._offsets:
            self._offsets[text] = self._place(text)
        return self._offsets[text]

    def _place(self, text: str) -> int:
        """The offset of a text, existing or added."""
        wanted = b"\0" + text.encode() + b"\0"
        known = self._strings.find(wanted)
        if known >= 0:
            return known + 1
        self._strings += wanted[1:]
        return len(self._strings) - len(wanted) + 1

    def raw(self, types: bytes = b"", strings: bytes = b"") -> bytes:
        """The bytes: header, types, layout, strings; `types` and `strings` are appended to them."""
        types, strings = bytes(self._types) + types, bytes(self._strings) + strings
        header, layout = bytearray(self._header), len(self._layout)
        fields = list(struct.unpack_from(self._mark + HEADER, header))
        fields[4:] = [0, len(types), len(types) + layout, len(strings)]
        struct.pack_into(self._mark + HEADER, header, 0, *fields)
        if len(header) >= HEADER_SIZE + LAYOUT_SIZE:
            place = (len(types), layout) if layout else (0, 0)
            struct.pack_into(self._mark + LAYOUT, header, HEADER_SIZE, *place)
        return bytes(header) + types + bytes(self._layout) + strings
