"""Completing the compiler's BTF from the ELF symbols, as libbpf does."""

from __future__ import annotations

from collections.abc import Collection

from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.edit import BtfEditor
from lskel.elf.format import Bind, SymbolType
from lskel.elf.object import Elf, Symbol
from lskel.errors import BadObject, at
from lskel.object.data import MAX_VALUE_SIZE
from lskel.object.externs import KCONFIG, KSYMS, fix_up_externs
from lskel.object.maps import SECTION as MAPS

# Sections whose variables are not memory of the object.
_NEVER_HIDDEN = frozenset({KSYMS, KCONFIG, MAPS})


def fix_up(elf: Elf, btf: Btf, hidden: Collection[str]) -> Btf:
    """BTF with the sizes of DATASECs and the offsets of their variables filled in.

    Hidden variables become static: they are not visible to user space. Global functions in `hidden`
    (hidden visibility) become static, too, so that the verifier checks them in the context of their
    callers.
    """
    editor = BtfEditor(btf)
    fix_up_externs(btf, editor)
    symbols = _variables(elf)
    for type_id, found in btf:
        if isinstance(found, t.Datasec):
            if found.size:
                _sort_vars(editor, type_id, found)
            elif found.name not in (KSYMS, KCONFIG):
                with at("BTF", f"DATASEC {found.name}"):
                    _fix_datasec(elf, btf, editor, type_id, found, symbols)
            if found.name not in _NEVER_HIDDEN:
                _hide_vars(btf, editor, found, symbols)
        elif (
            isinstance(found, t.Func)
            and found.linkage == t.FuncLinkage.GLOBAL
            and found.name in hidden
        ):
            editor.set_func_linkage(type_id, t.FuncLinkage.STATIC)
    return editor.finish()


def _variables(elf: Elf) -> dict[str, Symbol]:
    symbols: dict[str, Symbol] = {}
    for symbol in elf.symbols:
        if symbol.type == SymbolType.OBJECT and symbol.bind in (Bind.GLOBAL, Bind.WEAK):
            symbols.setdefault(symbol.name, symbol)
    return symbols


def _fix_datasec(
    elf: Elf,
    btf: Btf,
    editor: BtfEditor,
    type_id: t.TypeId,
    datasec: t.Datasec,
    symbols: dict[str, Symbol],
) -> None:
    for info in datasec.vars:
        var = btf.get(info.type, t.Var)
        if var.linkage == t.VarLinkage.GLOBAL_EXTERN:
            what = "map" if datasec.name == MAPS else "variable"
            raise BadObject(
                f"extern {what} '{var.name}' is not in this object",
                hint="link the object that defines it: bpftool gen object",
            )
    section = elf.section(datasec.name)
    if section is None or not section.size:
        raise BadObject("no such ELF section, or it is empty")
    if section.size > MAX_VALUE_SIZE:
        raise BadObject(
            f"the section has {section.size} bytes, at most {MAX_VALUE_SIZE} are allowed"
        )
    variables = []
    for info in datasec.vars:
        var = btf.get(info.type, t.Var)
        if var.linkage != t.VarLinkage.STATIC:
            if var.name not in symbols:
                raise BadObject(f"variable '{var.name}' has no ELF symbol")
            info = info._replace(offset=symbols[var.name].value)
        if info.offset + info.size > section.size:
            raise BadObject(
                f"variable '{var.name}' at {info.offset:#x}+{info.size:#x} is outside "
                f"the section's {section.size:#x} bytes"
            )
        variables.append(info)
    editor.set_datasec(type_id, section.size, sorted(variables, key=lambda info: info.offset))


def _hide_vars(btf: Btf, editor: BtfEditor, datasec: t.Datasec, symbols: dict[str, Symbol]) -> None:
    for info in datasec.vars:
        var = btf[info.type]
        if isinstance(var, t.Var) and var.linkage == t.VarLinkage.GLOBAL_ALLOCATED:
            symbol = symbols.get(var.name)
            if symbol is not None and symbol.is_hidden:
                editor.set_var_linkage(info.type, t.VarLinkage.STATIC)


def _sort_vars(editor: BtfEditor, type_id: t.TypeId, datasec: t.Datasec) -> None:
    ordered = sorted(datasec.vars, key=lambda info: info.offset)
    if ordered != list(datasec.vars):
        editor.set_datasec(type_id, datasec.size, ordered)
