"""The array at the end of a section of variables: with another size, it has as many elements.

A skeleton carries where the section is in the object's BTF, and no reader of BTF.
"""

from __future__ import annotations

import struct

from lskel.light_typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.cursor import ByteOrder

# Of the kernel's struct btf_header: hdr_len; type_off, type_len, str_off.
_HEADER_LENGTH, _SECTIONS = 4, 8
# Of struct btf_type, and of each struct btf_var_secinfo in a DATASEC.
_SIZE_OR_TYPE, _TYPE_HEADER, _VAR_SIZE, _VAR_LENGTH = 8, 12, 8, 12
_ARRAY_KIND = 3 << 24


class LastArray(NamedTuple):
    """The last variable of a section, which is an array of `element` bytes each at `offset`.

    `section`, `element_type` and `index_type` are BTF ids, `new` the next free one; `datasec` and
    `var` are where the types of the section and the variable begin in the BTF; `variables` is
    their number.
    """

    variable: str
    offset: int
    element: int
    section: int
    element_type: int
    index_type: int
    new: int
    datasec: int
    var: int
    variables: int

    def length(self, size: int) -> int | None:
        """The number of elements in a section of this size; None if they do not fill it."""
        room = size - self.offset
        return None if room < 0 or room % self.element else room // self.element

    def resized(self, btf: bytes, size: int, length: int, order: ByteOrder) -> bytes:
        """The BTF in which the section has this size, and the variable so many elements.

        As libbpf's bpf_map__set_value_size does: other variables may have the same array type, so
        that a new one is appended.
        """
        mark = "<" if order == "little" else ">"
        made = bytearray(btf)

        def put(at: int, value: int) -> None:
            struct.pack_into(f"{mark}I", made, at, value)

        last = self.datasec + _TYPE_HEADER + _VAR_LENGTH * (self.variables - 1)
        put(self.datasec + _SIZE_OR_TYPE, size)
        put(last + _VAR_SIZE, size - self.offset)
        put(self.var + _SIZE_OR_TYPE, self.new)
        (header,) = struct.unpack_from(f"{mark}I", made, _HEADER_LENGTH)
        start, types, strings = struct.unpack_from(f"{mark}III", made, _SECTIONS)
        words = (0, _ARRAY_KIND, 0, self.element_type, self.index_type, length)
        array = struct.pack(f"{mark}6I", *words)
        end = header + start + types
        made[end:end] = array
        put(_SECTIONS + 4, types + len(array))
        put(_SECTIONS + 8, strings + len(array))
        return bytes(made)
