"""What may be resized in a section of variables."""

from __future__ import annotations

from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.last_array import LastArray
from lskel.btf.types import TypeId


def last_array(btf: Btf, section: TypeId) -> LastArray | None:
    """The array at the end of a DATASEC; None if its last variable is something else."""
    datasec = btf[section]
    if not isinstance(datasec, t.Datasec) or not datasec.vars:
        return None
    last = datasec.vars[-1]
    var = btf[last.type]
    array = btf[btf.resolve(var.type)] if isinstance(var, t.Var) else None
    if not isinstance(array, t.ArrayType):
        return None
    element = btf.size_of(array.type)
    if not element:
        return None
    return LastArray(
        variable=var.name,
        offset=last.offset,
        element=element,
        section=section,
        element_type=array.type,
        index_type=array.index_type,
        new=btf.end_id,
        datasec=btf.offset_of(section),
        var=btf.offset_of(last.type),
        variables=len(datasec.vars),
    )
