"""Extern symbols: kfuncs, kernel variables and kernel configuration values."""

from __future__ import annotations

from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.elf import Bind, Elf
from lskel.errors import BadObject, at
from lskel.object.model import Extern, ExternKind

KSYMS = ".ksyms"
KCONFIG = ".kconfig"


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
            kind, type_id = declared[symbol.name]
            found[symbol.index] = Extern(symbol.name, kind, symbol.bind == Bind.WEAK, type_id)
    return found


def _declared(btf: Btf) -> dict[str, tuple[ExternKind, t.TypeId]]:
    declared = {}
    for section in (KSYMS, KCONFIG):
        datasec_id = btf.find(section, t.Datasec)
        for info in btf.get(datasec_id, t.Datasec).vars if datasec_id else ():
            what = btf[info.type]
            if section == KCONFIG:
                btf.get(info.type, t.Var)
                kind = ExternKind.KCONFIG
            else:
                kind = ExternKind.KFUNC if isinstance(what, t.Func) else ExternKind.KSYM
            declared[what.name] = (kind, info.type)
    return declared
