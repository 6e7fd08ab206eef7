"""Programs as objects, and links to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from lskel.replay.simulator.syscall.fds import Object

if TYPE_CHECKING:
    from lskel.btf.ext import Records
    from lskel.replay.simulator.syscall.attrs import Attr
    from lskel.replay.simulator.syscall.btfs import BtfObject, LoadedBtf
    from lskel.replay.simulator.syscall.maps import Map


@dataclass(eq=False)
class Program(Object):
    """A loaded program, with copies of all that PROG_LOAD was given.

    `maps` are those that its ld_imm64 instructions refer to, by the instruction's index;
    `module_btfs` the BTF of modules, by the index of the instruction that needs them; `bound` the
    maps that PROG_BIND_MAP added. `attach_to` is the BTF or the program of its target.
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
    maps: Mapping[int, Map]
    module_btfs: Mapping[int, BtfObject]
    attach_to: Object | None
    attach_btf_id: int
    bound: list[Map] = field(default_factory=list)
    id: int = 0


@dataclass(eq=False)
class Link(Object):
    """A program attached to something; of a struct_ops map, `of` is the map."""

    kind: ClassVar[str] = "link"
    of: Object
    attach_type: int
    name: str = ""
    id: int = 0
