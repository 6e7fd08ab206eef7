"""Encoding and decoding `union bpf_attr` and the info structs by field name."""

from __future__ import annotations

from lskel.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.bpf.layouts import Layout
    from lskel.cursor import ByteOrder

Value = int | bytes

# BPF_OBJ_NAME_LEN (uapi/linux/bpf.h) less the NUL.
NAME_LENGTH = 15


def size_through(layout: Layout, field: str) -> int:
    """Bytes up to and including `field`, as offsetofend() in the kernel."""
    offset, size = layout[field]
    return offset + size


def encode(layout: Layout, size: int, order: ByteOrder, /, **fields: Value) -> bytearray:
    """An attr of `size` bytes, zero except `fields` (integers, or bytes for arrays).

    Negative integers become two's complement; byte strings are padded with zeros. BadInput if a
    value does not fit its field, or a field is beyond `size`.
    """
    attr = bytearray(size)
    for name, value in fields.items():
        store(attr, layout, name, value, order)
    return attr


def store(attr: bytearray, layout: Layout, field: str, value: Value, order: ByteOrder) -> None:
    """Write one field in place."""
    offset, size = layout[field]
    if offset + size > len(attr):
        raise BadInput(f"field {field} is beyond an attr of {len(attr)} bytes")
    if isinstance(value, int):
        if not -(1 << 8 * size - 1) <= value < 1 << 8 * size:
            raise BadInput(f"{value} does not fit into the {size} bytes of field {field}")
        value = (value & ((1 << 8 * size) - 1)).to_bytes(size, order)
    elif len(value) > size:
        raise BadInput(f"{len(value)} bytes do not fit into the {size} of field {field}")
    attr[offset : offset + len(value)] = value


def load(attr: bytes | bytearray, layout: Layout, field: str, order: ByteOrder) -> int:
    """Read one field as an unsigned integer; 0 if the attr ends before it."""
    offset, size = layout[field]
    return int.from_bytes(attr[offset : offset + size], order)


def object_name(name: str) -> bytes:
    """A name in the kernel's format: at most NAME_LENGTH bytes.

    The kernel allows letters, digits, `_` and `.`; others become `_`, as in libbpf for its internal
    maps.
    """
    spelt = (c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in name[:NAME_LENGTH])
    return "".join(spelt).encode()
