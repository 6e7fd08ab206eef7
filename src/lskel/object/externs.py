"""Extern symbols: kfuncs, kernel variables and kernel configuration values.

The compiler declares them in the BTF sections .ksyms and .kconfig, as externs. The kernel knows
no externs in BTF, so `fix_up_externs` turns them into what it takes, byte for byte as libbpf does.
"""

from __future__ import annotations

from lskel.btf import types as t
from lskel.btf.btf import MAX_DEPTH, MAX_SIZE, POINTER_SIZE, Btf
from lskel.btf.edit import BtfEditor
from lskel.elf import Bind, Elf
from lskel.errors import BadObject, at
from lskel.object.model import Extern, ExternKind

KSYMS = ".ksyms"
KCONFIG = ".kconfig"
DUMMY = "dummy_ksym"
FAKE_SIZE = 4


def parse_externs(elf: Elf, btf: Btf | None) -> dict[int, Extern]:
    """The extern symbols by symbol index, in the order of the symbol table."""
    symbols = [symbol for symbol in elf.symbols if symbol.is_extern]
    if not symbols:
        return {}
    if btf is None:
        raise BadObject(f"extern '{symbols[0].name}': there is no BTF", hint="compile with -g")
    declared = _declared(btf)
    found = {}
    for symbol in symbols:
        with at(f"extern '{symbol.name}'"):
            if symbol.name not in declared:
                raise BadObject(
                    "not declared in BTF sections .ksyms or .kconfig",
                    hint="declare it with __ksym or __kconfig, or link the object that defines it",
                )
            is_weak = symbol.bind == Bind.WEAK
            found[symbol.number] = declared[symbol.name]._replace(is_weak=is_weak)
    return found


def fix_up_externs(btf: Btf, editor: BtfEditor) -> None:
    """Make BTF of externs acceptable to the kernel."""
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
        kind = ExternKind.KFUNC if isinstance(what, t.Func) else ExternKind.KSYM
        declared[what.name] = Extern(what.name, kind, False, info.type)
    datasec = btf.find(KCONFIG, t.Datasec)
    if datasec:
        for extern, _ in _kconfig_layout(btf, btf.get(datasec, t.Datasec)):
            declared[extern.name] = extern
    return declared


def _fix_ksyms(btf: Btf, editor: BtfEditor, datasec_id: t.TypeId) -> None:
    """Kernel symbols become int variables of 4 bytes, one after the other.

    A DATASEC may hold no functions, so one dummy variable stands for each of them.
    """
    datasec = btf.get(datasec_id, t.Datasec)
    dummy: t.TypeId | None = None
    number = next(
        (type_id for type_id, found in btf if isinstance(found, t.Int) and found.bits == 32), None
    )
    if number is None:
        number = editor.add_int("int", FAKE_SIZE, t.IntEncoding.SIGNED)
    variables = []
    for index, info in enumerate(datasec.vars):
        what = btf[info.type]
        var_id = info.type
        if isinstance(what, t.Func):
            if dummy is None:
                dummy = editor.add_var(DUMMY, number, t.VarLinkage.GLOBAL_ALLOCATED)
            var_id = dummy
            editor.set_func_linkage(info.type, t.FuncLinkage.GLOBAL)
            for position, param in enumerate(btf.get(what.type, t.FuncProto).params):
                if param.type and not param.name:
                    editor.set_param_name(what.type, position, DUMMY)
        else:
            btf.get(info.type, t.Var)
            editor.set_var_linkage(info.type, t.VarLinkage.GLOBAL_ALLOCATED)
            editor.set_var_type(info.type, number)
        variables.append(t.VarSecinfo(var_id, index * FAKE_SIZE, FAKE_SIZE))
    editor.set_datasec(datasec_id, len(variables) * FAKE_SIZE, variables)


def _fix_kconfig(btf: Btf, editor: BtfEditor, datasec_id: t.TypeId) -> None:
    """Configuration values become variables of one map, at the offsets of `_kconfig_layout`."""
    layout = _kconfig_layout(btf, btf.get(datasec_id, t.Datasec))
    variables = []
    for extern, info in layout:
        editor.set_var_linkage(extern.type, t.VarLinkage.GLOBAL_ALLOCATED)
        variables.append(info._replace(offset=extern.offset))
    variables.sort(key=lambda info: info.offset)
    end = max(extern.offset + extern.size for extern, _ in layout) if layout else 0
    if end > MAX_SIZE:
        raise BadObject(f"its variables have {end} bytes")
    editor.set_datasec(datasec_id, end, variables)


def _kconfig_layout(btf: Btf, datasec: t.Datasec) -> list[tuple[Extern, t.VarSecinfo]]:
    """Where each value lies: largest alignment first, then smallest size, then by name."""
    values = []
    for info in datasec.vars:
        var = btf.get(info.type, t.Var)
        with at(f"extern '{var.name}'"):
            size, alignment = btf.size_of(var.type), _alignment(btf, var.type)
        values.append((-alignment, size, var.name, info))
    values.sort(key=lambda value: value[:3])
    layout = []
    end = 0
    for negative, size, name, info in values:
        alignment = -negative
        offset = -(-end // alignment) * alignment
        layout.append((Extern(name, ExternKind.KCONFIG, False, info.type, size, offset), info))
        end = offset + size
    return layout


def _alignment(btf: Btf, type_id: t.TypeId) -> int:
    for _ in range(MAX_DEPTH):
        type_id = btf.resolve(type_id)
        found = btf[type_id]
        if not isinstance(found, t.Array):
            break
        type_id = found.type
    if isinstance(found, t.Int | t.Enum) and found.size:
        return min(POINTER_SIZE, found.size)
    raise BadObject(
        f"{found.kind.name} '{found.name}' is no type of a configuration value",
        hint="use bool, char, enum libbpf_tristate, an integer or an array of char",
    )
