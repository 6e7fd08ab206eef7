"""What needs the object's BTF, if the kernel accepts or refuses it."""

from __future__ import annotations

from lskel.bpf.enums import ProgType
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.edit import BtfEditor
from lskel.catalog.map_types import MapBtf, map_type_row
from lskel.object.model import MapSpec, Object

# Fields of a map's values that the kernel identifies by their type (map_check_btf in
# kernel/bpf/syscall.c, Linux 6.18).
_SPECIAL_STRUCTS = frozenset(
    {
        "bpf_spin_lock",
        "bpf_res_spin_lock",
        "bpf_timer",
        "bpf_wq",
        "bpf_task_work",
        "bpf_list_head",
        "bpf_rb_root",
        "bpf_refcount",
    }
)
_SPECIAL_TAGS = frozenset({"kptr", "kptr_untrusted", "kptr_ref", "percpu_kptr", "uptr"})
_KEY_SIZE = 4


def for_kernel(btf: Btf) -> bytes:
    """The bytes for the kernel, without what it does not use and older releases refuse.

    That is ``?`` in names of DATASECs, such as ``?.struct_ops`` (before 6.9), and a layout section
    (before 7.3). With types of kinds unknown here the layout stays, by which they are skipped: a
    kernel that accepts such types knows layouts.
    """
    editor = BtfEditor(btf)
    for type_id, found in btf:
        if isinstance(found, t.Datasec) and found.name.startswith("?"):
            editor.set_name(type_id, "_" + found.name[1:])
    if not btf.has_unknown_kinds:
        editor.drop_layout()
    return editor.finish().raw


def needed_by(obj: Object) -> str:
    """What requires the object's BTF, in words; empty if nothing does."""
    for program in obj.programs:
        if program.autoload and program.spec.prog_type == ProgType.EXT:
            return f"program '{program.name}' (freplace)"
    for function in (*(p.function for p in obj.programs if p.autoload), *obj.subprograms):
        if len(function.core_relos):
            return f"function '{function.name}' (CO-RE relocations)"
    for a_map in obj.maps:
        if a_map.autocreate and obj.btf is not None and map_needs_btf(a_map, obj.btf):
            return f"map '{a_map.name}'"
    return ""


def map_needs_btf(a_map: MapSpec, btf: Btf) -> bool:
    """Whether the map requires the types of its key and value."""
    row = map_type_row(a_map.type)
    is_needed = row is not None and row.btf in (MapBtf.REQUIRED, MapBtf.KERNEL_VALUE)
    return is_needed or bool(special_field(btf, a_map.value_type))


def map_may_lack_btf(a_map: MapSpec, btf: Btf) -> bool:
    """Whether kernels may refuse the map with its types, but accept it without."""
    row = map_type_row(a_map.type)
    if map_needs_btf(a_map, btf) or (row is not None and row.btf is MapBtf.ANY):
        return False
    if row is None or row.btf is not MapBtf.ARRAY:
        return True
    key = btf[btf.resolve(a_map.key_type)]
    has_int_key = isinstance(key, t.Int) and key.size == _KEY_SIZE
    return not (has_int_key or a_map.is_global_data)


def special_field(btf: Btf, type_id: t.TypeId) -> str:
    """What the kernel manages in values of this type: a struct, or a tag; empty for nothing."""
    pending, seen = [type_id], {t.VOID}
    while pending:
        type_id = btf.resolve(pending.pop())
        if type_id in seen:
            continue
        seen.add(type_id)
        found = btf[type_id]
        if isinstance(found, t.ArrayType):
            pending.append(found.type)
        elif isinstance(found, t.StructType):
            if found.name in _SPECIAL_STRUCTS:
                return found.name
            pending += [member.type for member in found.members]
        elif isinstance(found, t.Ptr):
            tag = btf[found.type]
            if isinstance(tag, t.TypeTag) and tag.name in _SPECIAL_TAGS:
                return tag.name
        elif isinstance(found, t.Datasec):
            pending += [info.type for info in found.vars]
        elif isinstance(found, t.Var):
            pending.append(found.type)
    return ""
