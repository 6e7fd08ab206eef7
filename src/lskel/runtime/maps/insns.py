"""Maps of a program's instructions: jump tables."""

from __future__ import annotations

import struct

from lskel.catalog.map_types import INSN_ENTRY_SIZE
from lskel.light_typing import NamedTuple
from lskel.runtime.maps.array import ArrayMap
from lskel.runtime.values import Codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.values.codec import Buffer


class InsnOffsets(NamedTuple):
    """Where an instruction is: struct bpf_insn_array_value (uapi/linux/bpf.h, Linux 6.19).

    `orig` is its index in the code that was loaded, `xlated` that in the code after the verifier's
    changes, 0xFFFFFFFF if it was removed, `jitted` its offset in the machine code, in bytes.
    """

    orig: int
    xlated: int = 0
    jitted: int = 0


_FIELDS = struct.Struct("=III4x")


def _encode(value: InsnOffsets) -> bytes:
    return _FIELDS.pack(*value)


def _decode(data: Buffer) -> InsnOffsets:
    return InsnOffsets(*_FIELDS.unpack(data))


class InsnArray(ArrayMap[InsnOffsets]):
    """An INSN_ARRAY: the instructions that a jump table of one program lists. Linux 6.19.

    `orig` is set before the map is frozen and the program loaded; the kernel then sets the rest.
    """

    def __init__(self, definition: MapDefinition) -> None:
        super().__init__(definition, Codec(INSN_ENTRY_SIZE, _encode, _decode))
