"""Another size of a section of variables: its last variable, an array, gets as many elements."""

from __future__ import annotations

from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.edit import BtfEditor
from lskel.btf.kinds import Kind
from lskel.light_typing import NamedTuple


class ResizedSection(NamedTuple):
    """BTF in which the section has the new size, and its last variable so many elements."""

    btf: Btf
    variable: str
    elements: int


def resize_section(btf: Btf, section: t.TypeId, size: int) -> ResizedSection | None:
    """Resize a DATASEC, as libbpf's bpf_map__set_value_size does.

    None if its last variable is not an array whose elements fill the rest of it.
    """
    datasec = btf[section]
    if not isinstance(datasec, t.Datasec) or not datasec.vars:
        return None
    last = datasec.vars[-1]
    var = btf[last.type]
    array = btf[btf.resolve(var.type)] if isinstance(var, t.Var) else None
    if not isinstance(var, t.Var) or not isinstance(array, t.ArrayType):
        return None
    element, room = btf.size_of(array.type), size - last.offset
    if element <= 0 or room < 0 or room % element:
        return None
    editor = BtfEditor(btf)
    new = editor.add(Kind.ARRAY, "", 0, 0, array.type, array.index_type, room // element)
    editor.set_var_type(last.type, new)
    editor.set_datasec(section, size, (*datasec.vars[:-1], last._replace(size=room)))
    return ResizedSection(editor.finish(), var.name, room // element)
