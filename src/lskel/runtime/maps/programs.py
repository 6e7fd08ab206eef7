"""Arrays of programs, for tail calls."""

from __future__ import annotations

from lskel.runtime.maps.array import SparseArray
from lskel.runtime.maps.handles import handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.maps.handles import Handle


class ProgArray(SparseArray[int]):
    """A PROG_ARRAY: set by program or fd, read as program ids.

    ``skel.maps.jump_table[0] = skel.progs.parse_ipv6``. The kernel accepts only programs compatible
    with the callers, else EINVAL. It is cleared when its last fd and pin is gone.
    """

    def __init__(self, definition: MapDefinition) -> None:
        super().__init__(definition, handle(4))

    def __setitem__(self, index: int, value: Handle) -> None:
        super().__setitem__(index, value)  # type: ignore[assignment]
