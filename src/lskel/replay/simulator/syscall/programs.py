"""Program and link objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from lskel.replay.simulator.syscall.fds import KernelObject

if TYPE_CHECKING:
    from lskel.btf.ext import Records
    from lskel.replay.simulator.syscall.attrs import Attr
    from lskel.replay.simulator.syscall.btfs import BtfObject, LoadedBtf
    from lskel.replay.simulator.syscall.maps import SimulatedMap


@dataclass(eq=False)
class SimulatedProgram(KernelObject):
    """A loaded program, with copies of the PROG_LOAD input.

    `maps` are the maps of its ld_imm64 instructions, by instruction index; `module_btfs` the BTF of
    modules, by instruction index; `bound` the maps added by PROG_BIND_MAP. `attach_to` is the BTF
    or the program of its target.
    """

    kind: ClassVar[str] = "prog"
    attr: Attr
    type: int
    name: str
    license: str
    insns: bytes
    btf: LoadedBtf | None
    func_info: Records
    line_info: Records
    core_relos: Records
    maps: Mapping[int, SimulatedMap]
    module_btfs: Mapping[int, BtfObject]
    attach_to: KernelObject | None
    attach_btf_id: int
    bound: list[SimulatedMap] = field(default_factory=list)
    id: int = 0


@dataclass(eq=False)
class Link(KernelObject):
    """An attached program or, in `of`, a struct_ops map."""

    kind: ClassVar[str] = "link"
    of: KernelObject
    attach_type: int
    name: str = ""
    id: int = 0
