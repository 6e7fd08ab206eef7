"""struct_ops: structs of function pointers for the kernel, registered by writing their map."""

from __future__ import annotations

import errno

from lskel.runtime import kernel_struct
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.kernel import check_running
from lskel.runtime.kernel_btf import KernelBtf
from lskel.runtime.maps.base import Map
from lskel.runtime.struct_ops import register
from lskel.runtime.syscall import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.bpf.struct_ops import StructOps
    from lskel.runtime.collection import Collection
    from lskel.runtime.maps.base import MapDefinition


class StructOpsMap(Map):
    """A struct_ops variable. `ops` are its members, replaceable until it is attached:
    ``m.ops = m.ops.with_value("flags", b"...")``. Linux 5.6.

    `by_link`: it is declared in ``.struct_ops.link`` (Linux 6.4).
    """

    _fixed_attributes = ("type", "key_size", "value_size", "max_entries")
    _why_fixed = "is a struct of the kernel"

    def __init__(self, definition: MapDefinition, ops: StructOps, *, by_link: bool) -> None:
        super().__init__(definition)
        self.ops = ops
        self._by_link = by_link

    def _become(self) -> None:
        """Its class is that of struct_ops, whatever its flags."""

    def register(self, owner: Collection) -> None:
        """Register it with the programs of a collection, which owns the link."""
        check_running(self.kernel, "registers nothing")
        programs = {p.name: p.fileno() for p in owner.progs if p.loaded}
        with with_hints({}):
            value = kernel_struct.value(KernelBtf(), self.ops, programs)
            try:
                link = register(self.fileno(), value, by_link=self._by_link)
            except KernelError as error:
                if error.errno != errno.EPERM:
                    error.hint = f"disable it: --no-autoload {self.name}"
                raise
        owner.links.add(self.name, link)
