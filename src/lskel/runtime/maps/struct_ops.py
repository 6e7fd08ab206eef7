"""struct_ops: tables of functions that the kernel calls, registered by writing their map."""

from __future__ import annotations

from lskel.runtime import kernel_struct
from lskel.runtime.kernel_btf import KernelBtf
from lskel.runtime.maps.base import Map
from lskel.runtime.struct_ops import register

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.bpf.struct_ops import StructOps
    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.skeleton import Skeleton


class StructOpsMap(Map):
    """A struct_ops variable. `ops` are its members, which may be replaced until it is attached:
    ``m.ops = m.ops.with_value("flags", b"...")``. Linux 5.6.

    `by_link` says that it was declared in ``.struct_ops.link`` (Linux 6.4).
    """

    def __init__(self, definition: MapDefinition, ops: StructOps, *, by_link: bool) -> None:
        super().__init__(definition)
        self.ops = ops
        self._by_link = by_link

    def register(self, skeleton: Skeleton) -> None:
        """Register it with the programs of a skeleton, which keeps the link."""
        programs = {p.name: p.fileno() for p in skeleton.progs if p.loaded}
        value = kernel_struct.value(KernelBtf(), self.ops, programs)
        skeleton.links.add(self.name, register(self.fileno(), value, by_link=self._by_link))
