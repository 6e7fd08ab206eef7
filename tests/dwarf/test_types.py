"""Types of debug information as BTF, compared with the BTF that clang writes for them."""

from __future__ import annotations

import pytest

from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.cursor import ByteOrder
from lskel.dwarf.reader import Dwarf
from lskel.dwarf.types import TypeConverter
from lskel.elf.object import Elf
from lskel.errors import BadObject
from lskel.skeleton.types import TypeDeclarations
from tests.build.clang import compile_bpf
from tests.dwarf.sources import IN_BTF, SENDS, TYPES


def own_btf(data: bytes) -> Btf:
    elf = Elf(data)
    section = elf.section(".BTF")
    assert section is not None
    return Btf(elf.content(section))


def converted(data: bytes, name: str, base: Btf | None) -> tuple[Btf, t.TypeId]:
    elf = Elf(data)
    dwarf, order = Dwarf(elf), elf.order
    converter = TypeConverter(order, base)
    found = converter.add(dwarf, dwarf.types[name])
    return converter.btf, found


def shape(btf: Btf, type_id: t.TypeId, order: ByteOrder) -> object:
    """All that a type's values need: as the declarations of Python classes."""
    types = TypeDeclarations(btf)
    types.type(type_id)
    return types.classes


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("big_endian", [False, True], ids=["bpfel", "bpfeb"])
@pytest.mark.parametrize("has_base", [False, True], ids=["alone", "appended"])
def test_as_clang_writes_it(version: int, big_endian: bool, has_base: bool) -> None:
    option = f"-gdwarf-{version}"
    without = compile_bpf(TYPES + SENDS, option, big_endian=big_endian)
    with_it = own_btf(compile_bpf(TYPES + SENDS + IN_BTF, option, big_endian=big_endian))
    base = own_btf(without) if has_base else None
    if base is not None:
        assert base.find("deep", t.StructType) is None
    btf, found = converted(without, "deep", base)
    expected = with_it.require("deep", t.StructType)
    assert shape(btf, found, btf.order) == shape(with_it, expected, btf.order)
    made, wanted = btf.get(found, t.StructType), with_it.get(expected, t.StructType)
    assert [member[:1] + member[2:] for member in made.members] == [
        member[:1] + member[2:] for member in wanted.members
    ]


def test_types_that_btf_has_are_used() -> None:
    data = compile_bpf(TYPES + SENDS + IN_BTF)
    base = own_btf(data)
    btf, found = converted(data, "deep", base)
    assert (btf.raw, found) == (base.raw, base.require("deep", t.StructType))
    for name in ("inner", "pair_t", "kind", "wide"):
        _, found = converted(data, name, base)
        assert base[found].name == name


def test_a_type_of_the_same_name_that_differs() -> None:
    other = own_btf(compile_bpf("struct deep { int x; }; struct deep variable = { 1 };"))
    btf, found = converted(compile_bpf(TYPES + SENDS), "deep", other)
    assert found >= other.end_id and btf.get(found, t.StructType).size > 4


def test_what_has_no_values() -> None:
    data = compile_bpf(
        "struct hidden; struct holds { struct hidden *far; }; typedef int (*call)(int);"
        'SEC("socket") int run(void *ctx) { struct holds holds = { ctx }; call c = ctx;'
        ' bpf_printk("%p %p", &holds, c); return 0; }'
    )
    elf = Elf(data)
    dwarf = Dwarf(elf)
    assert "hidden" not in dwarf.types
    (hidden,) = (
        entry for top in dwarf.units for entry in top.children if dwarf.name(entry) == "hidden"
    )
    with pytest.raises(BadObject, match=r"type 'hidden' at 0x.*: the type is incomplete"):
        TypeConverter(elf.order, None).add(dwarf, hidden)
    btf, found = converted(data, "holds", None)
    assert isinstance(btf[btf.get(found, t.StructType).members[0].type], t.Ptr)
