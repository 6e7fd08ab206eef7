"""Entries of debug information, compared with pyelftools."""

from __future__ import annotations

import io
import random

import pytest

from lskel import budget
from lskel.dwarf.constants import Attr, Tag
from lskel.dwarf.reader import Dwarf, Entry
from lskel.elf.object import Elf
from lskel.errors import LimitExceeded, LskelError
from tests import corpus
from tests.build.clang import compile_bpf
from tests.dwarf.sources import SENDS, TYPES

elffile = pytest.importorskip("elftools.elf.elffile")
descriptions = pytest.importorskip("elftools.dwarf.enums")

VARIANTS = [
    *(("-gdwarf-4",), ("-gdwarf-5",), ("-gdwarf-5", "-O1"), ("-gdwarf-4", "-fdebug-types-section")),
    ("-gdwarf-5", "-gno-column-info", "-fdebug-macro"),
]
ATTRS = {
    Attr.BYTE_SIZE: "DW_AT_byte_size",
    Attr.BIT_SIZE: "DW_AT_bit_size",
    Attr.DATA_MEMBER_LOCATION: "DW_AT_data_member_location",
    Attr.DATA_BIT_OFFSET: "DW_AT_data_bit_offset",
    Attr.COUNT: "DW_AT_count",
    Attr.CONST_VALUE: "DW_AT_const_value",
    Attr.ENCODING: "DW_AT_encoding",
}


def compare(data: bytes) -> int:
    """The number of entries, which are the same for pyelftools."""
    dwarf = Dwarf(Elf(data))
    expected = elffile.ELFFile(io.BytesIO(data)).get_dwarf_info()
    ours = {entry.offset: entry for top in dwarf.units for entry in (top, *top.inside())}
    theirs = {
        die.offset: die
        for cu in expected.iter_CUs()
        for die in cu.iter_DIEs()
        if die.tag is not None
    }
    assert ours.keys() == theirs.keys()
    for offset, die in theirs.items():
        entry = ours[offset]
        assert entry.tag == descriptions.ENUM_DW_TAG.get(die.tag, die.tag)
        name = die.attributes.get("DW_AT_name")
        assert dwarf.name(entry) == (name.value.decode() if name else "")
        assert [child.offset for child in entry.children] == [c.offset for c in die.iter_children()]
        for attr, text in ATTRS.items():
            if isinstance(getattr(die.attributes.get(text), "value", None), int):
                assert entry.number(attr) == die.attributes[text].value
        if "DW_AT_type" in die.attributes:
            behind = dwarf.follow(entry, Attr.TYPE)
            assert behind is not None
            assert behind.offset == die.get_DIE_from_attribute("DW_AT_type").offset
    return len(ours)


@pytest.mark.parametrize("options", VARIANTS, ids=" ".join)
@pytest.mark.parametrize("big_endian", [False, True], ids=["bpfel", "bpfeb"])
def test_entries(options: tuple[str, ...], big_endian: bool) -> None:
    assert compare(compile_bpf(TYPES + SENDS, *options, big_endian=big_endian)) > 60


@pytest.mark.corpus
def test_entries_of_selftests(corpus_tools: None) -> None:
    paths = [path for path in corpus.objects() if path.stat().st_size < 30_000][::16]
    assert len(paths) > 10
    assert sum(compare(path.read_bytes()) for path in paths) > 1000


def test_functions() -> None:
    data = compile_bpf(
        """
static __attribute__((noinline)) int inner(int x) { return x * 7; }
SEC("socket") int first(struct __sk_buff *skb) { return inner(skb->len); }
SEC("socket") int second(struct __sk_buff *skb) { return inner(skb->mark); }
"""
    )
    elf = Elf(data)
    dwarf = Dwarf(elf)
    functions = [s for s in elf.symbols if s.size and s.type == 2]
    assert {s.name for s in functions} == {"inner", "first", "second"}
    for symbol in functions:
        section = elf.sections[symbol.section].name
        for offset in (symbol.value, symbol.value + symbol.size - 8):
            found = dwarf.function_at(section, offset)
            assert found is not None and dwarf.name(found) == symbol.name
        assert dwarf.function_at(section, symbol.value + symbol.size) is not found
    assert dwarf.function_at("license", 0) is None


def test_damaged_tables_are_errors() -> None:
    """Whatever byte is changed: an error of lskel's, or other entries."""
    data = compile_bpf(TYPES + SENDS)
    elf = Elf(data)
    rng = random.Random(20)
    failures = 0
    for name in (".debug_info", ".debug_abbrev", ".debug_str_offsets", ".debug_addr"):
        section = elf.section(name)
        assert section is not None
        for _ in range(60):
            damaged = bytearray(data)
            damaged[section.offset + rng.randrange(section.size)] = rng.randrange(256)
            dwarf = Dwarf(Elf(bytes(damaged)))
            try:
                for top in dwarf.units:
                    for entry in (top, *top.inside()):
                        read(dwarf, entry)
                dwarf.function_at("raw_tp/sys_enter", 0)
            except LskelError:
                failures += 1
    assert failures > 30


def test_entries_without_attributes_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take memory, too; so do units without entries time."""
    elf = Elf(compile_bpf(TYPES + SENDS))
    entries = sum(1 for top in Dwarf(elf).units for _ in (top, *top.inside()))
    monkeypatch.setattr(budget, "DWARF_ENTRY", budget.DWARF_ATTRIBUTES // entries)
    with pytest.raises(LimitExceeded, match="attributes in DWARF"):
        _ = Dwarf(elf).units


def read(dwarf: Dwarf, entry: Entry) -> None:
    dwarf.name(entry)
    dwarf.follow(entry, Attr.TYPE)
    assert entry.tag != Tag.TYPEDEF or dwarf.origin(entry) is not None
