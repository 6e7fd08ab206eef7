"""Stack traces captured by programs."""

from __future__ import annotations

from lskel.bpf.flags import MapFlag
from lskel.runtime.maps.array import INDEX
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.values import Codec, codec, raw, u64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.values.codec import Buffer

_FRAME = 8


def _frames(size: int) -> Codec[Any]:
    number: Codec[Any] = codec(u64)

    def decode(data: Buffer) -> list[int]:
        frames: list[int] = number.decode_many(data, size // _FRAME)
        return frames[: frames.index(0)] if 0 in frames else frames

    return Codec(size, raw(size).encode, decode)


class StackTraces(HashMap[int, "Any"]):
    """A STACK_TRACE: a list of addresses, innermost first, by the id from bpf_get_stackid().

    With BPF_F_STACK_BUILD_ID it is bytes (an array of `struct bpf_stack_build_id`). Traces can be
    read and deleted, not set.
    """

    def __init__(self, definition: MapDefinition) -> None:
        size = definition.value_size
        by_build_id = definition.flags & MapFlag.STACK_BUILD_ID
        super().__init__(definition, INDEX, raw(size) if by_build_id else _frames(size))
