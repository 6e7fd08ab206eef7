"""Extern symbols: kfuncs, kernel variables and kconfig values.

The compiler declares them as externs in the BTF sections .ksyms and .kconfig. The kernel refuses
externs in BTF, so `fix_up_externs` converts them, byte for byte as libbpf does.
"""

from __future__ import annotations

from collections.abc import Iterable

from lskel.bpf.enums import MapType
from lskel.bpf.flags import MapFlag
from lskel.bpf.kconfig import KconfigType, KconfigVar
from lskel.btf import types as t
from lskel.btf.btf import MAX_SIZE, Btf
from lskel.btf.c import type_name
from lskel.btf.edit import BtfEditor
from lskel.elf.format import Bind
from lskel.elf.object import Elf
from lskel.errors import BadObject, at
from lskel.object.data import internal_name
from lskel.object.model import Extern, ExternKind, MapKind, MapSpec

KSYMS = ".ksyms"
KCONFIG = ".kconfig"
DUMMY = "dummy_ksym"
TRISTATE, TRISTATE_SIZE = "libbpf_tristate", 4
FAKE_SIZE = 4


def parse_externs(elf: Elf, btf: Btf | None) -> dict[int, Extern]:
    """The extern symbols by symbol index, in symbol table order."""
    symbols = [symbol for symbol in elf.symbols if symbol.is_extern]
    if not symbols:
        return {}
    if btf is None:
        raise BadObject(f"extern '{symbols[0].name}': no BTF", hint="compile with -g")
    declared = _declared(btf)
    found = {}
    for symbol in symbols:
        with at(f"extern '{symbol.name}'"):
            if symbol.name not in declared:
                raise BadObject(
                    "not declared in the BTF sections .ksyms or .kconfig",
                    hint="declare it with __ksym or __kconfig, or link the object that defines it",
                )
            found[symbol.number] = _weakened(declared[symbol.name], symbol.bind == Bind.WEAK)
    return found


def declaration(btf: Btf, extern: Extern) -> str:
    """An extern in C; for messages, as `type_name`."""
    text = type_name(btf, extern.type, extern.name)
    # What `fix_up_externs` adds.
    return text.replace(f" {DUMMY}", "").replace(DUMMY, "")


def parse_kconfig(btf: Btf | None, externs: Iterable[Extern], name: str) -> tuple[MapSpec, ...]:
    """The map of the kconfig values, if any; they are set on the target."""
    values = [extern.kconfig for extern in externs if extern.kconfig]
    if not values:
        return ()
    size = max(value.offset + value.size for value in values)
    return (
        MapSpec(
            name=internal_name(name, KCONFIG),
            kind=MapKind.KCONFIG,
            section=KCONFIG,
            offset=0,
            type=MapType.ARRAY,
            key_size=4,
            value_size=size,
            max_entries=1,
            flags=MapFlag.MMAPABLE | MapFlag.RDONLY_PROG,
            value_type=(btf.find(KCONFIG, t.Datasec) if btf else None) or t.VOID,
            initial=bytes(size),
        ),
    )


def _weakened(extern: Extern, is_weak: bool) -> Extern:
    kconfig = extern.kconfig and extern.kconfig._replace(is_weak=is_weak)
    return extern._replace(is_weak=is_weak, kconfig=kconfig)


def fix_up_externs(btf: Btf, editor: BtfEditor) -> None:
    """Convert BTF of externs to what the kernel accepts."""
    ksyms = btf.find(KSYMS, t.Datasec)
    if ksyms is not None:
        with at("BTF", f"DATASEC {KSYMS}"):
            _fix_ksyms(btf, editor, ksyms)
    kconfig = btf.find(KCONFIG, t.Datasec)
    if kconfig is not None:
        with at("BTF", f"DATASEC {KCONFIG}"):
            _fix_kconfig(btf, editor, kconfig)


def _declared(btf: Btf) -> dict[str, Extern]:
    declared = {}
    datasec = btf.find(KSYMS, t.Datasec)
    for info in btf.get(datasec, t.Datasec).vars if datasec else ():
        what = btf[info.type]
        if isinstance(what, t.Func):
            declared[what.name] = Extern(what.name, ExternKind.KFUNC, False, info.type)
        else:
            var = btf.get(info.type, t.Var)
            is_typeless = btf.resolve(var.type) == t.VOID
            declared[var.name] = Extern(var.name, ExternKind.KSYM, False, var.type, is_typeless)
    datasec = btf.find(KCONFIG, t.Datasec)
    if datasec:
        for value, info in _kconfig_layout(btf, btf.get(datasec, t.Datasec)):
            declared[value.name] = Extern(
                value.name, ExternKind.KCONFIG, False, info.type, kconfig=value
            )
    return declared


def _fix_ksyms(btf: Btf, editor: BtfEditor, datasec_id: t.TypeId) -> None:
    """Kernel symbols become consecutive int variables of 4 bytes.

    A DATASEC cannot have functions, so a dummy variable replaces each of them.
    """
    datasec = btf.get(datasec_id, t.Datasec)
    dummy: t.TypeId | None = None
    number = next(
        (type_id for type_id, found in btf if isinstance(found, t.Int) and found.bits == 32), None
    )
    if number is None:
        number = editor.add_int("int", FAKE_SIZE, t.IntEncoding.SIGNED)
    variables = []
    named: set[t.TypeId] = set()
    for index, info in enumerate(datasec.vars):
        what = btf[info.type]
        var_id = info.type
        if isinstance(what, t.Func):
            if dummy is None:
                dummy = editor.add_var(DUMMY, number, t.VarLinkage.GLOBAL_ALLOCATED)
            var_id = dummy
            editor.set_func_linkage(info.type, t.FuncLinkage.GLOBAL)
            if what.type not in named:
                named.add(what.type)
                _name_params(btf, editor, what.type)
        else:
            btf.get(info.type, t.Var)
            editor.set_var_linkage(info.type, t.VarLinkage.GLOBAL_ALLOCATED)
            editor.set_var_type(info.type, number)
        variables.append(t.VarSecinfo(var_id, index * FAKE_SIZE, FAKE_SIZE))
    editor.set_datasec(datasec_id, len(variables) * FAKE_SIZE, variables)


def _name_params(btf: Btf, editor: BtfEditor, proto: t.TypeId) -> None:
    for position, param in enumerate(btf.get(proto, t.FuncProto).params):
        if param.type and not param.name:
            editor.set_param_name(proto, position, DUMMY)


def _fix_kconfig(btf: Btf, editor: BtfEditor, datasec_id: t.TypeId) -> None:
    """Kconfig values become variables of one map, at the offsets of `_kconfig_layout`."""
    layout = _kconfig_layout(btf, btf.get(datasec_id, t.Datasec))
    variables = []
    for var, info in layout:
        editor.set_var_linkage(info.type, t.VarLinkage.GLOBAL_ALLOCATED)
        variables.append(info._replace(offset=var.offset))
    variables.sort(key=lambda info: info.offset)
    end = max(var.offset + var.size for var, _ in layout) if layout else 0
    if end > MAX_SIZE:
        raise BadObject(f"its variables have {end} bytes")
    editor.set_datasec(datasec_id, end, variables)


def _kconfig_layout(btf: Btf, datasec: t.Datasec) -> list[tuple[KconfigVar, t.VarSecinfo]]:
    """The offset of each value: largest alignment first, then smallest size, then by name."""
    values = []
    for info in datasec.vars:
        var = btf.get(info.type, t.Var)
        with at(f"extern '{var.name}'"):
            type_, element, is_signed = _kconfig_type(btf, var.type)
            values.append((-element, btf.size_of(var.type), var.name, type_, is_signed, info))
    values.sort(key=lambda value: value[:3])
    layout = []
    end = 0
    for negative, size, name, type_, is_signed, info in values:
        alignment = -negative
        offset = -(-end // alignment) * alignment
        layout.append((KconfigVar(name, type_, size, is_signed, offset, False), info))
        end = offset + size
    return layout


def _kconfig_type(btf: Btf, type_id: t.TypeId) -> tuple[KconfigType, int, bool]:
    """The type of a value, the size of one element, and whether that is signed."""
    found = btf[btf.resolve(type_id)]
    if isinstance(found, t.ArrayType) and found.nelems:
        kind, size, is_signed = _kconfig_type(btf, found.type)
        if kind is KconfigType.CHAR:
            return KconfigType.STRING, size, is_signed
    if isinstance(found, t.Enum) and found.name == TRISTATE and found.size == TRISTATE_SIZE:
        return KconfigType.TRISTATE, found.size, False
    if isinstance(found, t.Int) and found.size in (1, 2, 4, 8):
        if not found.encoding & t.IntEncoding.BOOL:
            kind = KconfigType.CHAR if found.size == 1 else KconfigType.INT
            return kind, found.size, found.signed
        if found.size == 1:
            return KconfigType.BOOL, 1, False
    raise BadObject(
        f"{found.kind.name} '{found.name}' is not a kconfig type",
        hint="use bool, char, enum libbpf_tristate, an integer or an array of char",
    )
