"""The decoder that others are compared with: of bytes that a compiler wrote, and by hand."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.types import IntEncoding, TypeId
from lskel.cursor import ByteOrder
from lskel.elf.object import Elf
from lskel.errors import BadObject
from tests.btf.decoder import EnumValue, decode
from tests.btf.samples import ORDERS, everything
from tests.build.btf import BtfBuilder
from tests.conftest import Run

TARGETS: dict[ByteOrder, str] = {"little": "bpfel", "big": "bpfeb"}

_SOURCE = """
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32;
typedef unsigned long long u64; typedef _Bool bool;
enum color { RED = -1, GREEN, BLUE = 7 };
enum small { OFF, ON } __attribute__((packed));
enum wide { LITTLE = 1, MUCH = 0xfedcba9876543210 };
struct inner { u16 a; int b; };
struct sample {
	char comm[16];
	u8 mac[6];
	signed char minus;
	bool yes, no[2];
	u16 port;
	int negative;
	u64 big;
	__int128 huge;
	unsigned __int128 vast;
	float third;
	double half;
	enum color color, unknown;
	enum small small;
	enum wide wide;
	u32 bits_a : 3, bits_b : 11;
	int bits_c : 7;
	u64 bits_d : 43;
	bool bits_e : 1;
	enum color bits_f : 4;
	u8 : 2;
	u32 bits_g : 32;
	int matrix[2][3];
	char names[2][4];
	struct inner inner, inners[2];
	union { u32 word; u8 bytes[4]; struct { u16 low, high; }; };
	const volatile struct inner *nowhere;
	void (*call)(void);
	struct { int n; } anon;
	u8 packed_from_here;
	struct { u8 x; u32 y : 20, z : 12; u64 w; } __attribute__((packed)) packed;
	u32 items[];
};
struct sample value __attribute__((section(".data.value"))) = {
	.comm = "b\\303\\244sh\\n", .mac = {1, 2, 3, 254, 255, 0}, .minus = -3, .yes = 1, .no = {0, 1},
	.port = 0xabcd, .negative = -123456789, .big = 0xfedcba9876543210,
	.huge = -(((__int128)1 << 100) + 5), .vast = ((unsigned __int128)0xfedc << 112) + 9,
	.third = 0.25f, .half = -0.5, .color = RED, .unknown = 42, .small = ON, .wide = MUCH,
	.bits_a = 5, .bits_b = 1234, .bits_c = -33, .bits_d = 0x7abcdef0123, .bits_e = 1,
	.bits_f = BLUE, .bits_g = 0xdeadbeef,
	.matrix = {{1, -2, 3}, {4, 5, -6}}, .names = {"ab", "wxyz"},
	.inner = {7, -8}, .inners = {{9, 10}, {11, -12}}, .word = 0x11223344,
	.nowhere = (void *)0xffff888012345678, .call = (void *)16, .anon = {77},
	.packed_from_here = 200, .packed = {1, 0xabcde, 0x987, 0x1122334455667788},
};
"""

_EXPECTED: dict[str, Any] = {
    "comm": "bäsh\n",
    "mac": [1, 2, 3, 254, 255, 0],
    "minus": -3,
    "yes": True,
    "no": [False, True],
    "port": 0xABCD,
    "negative": -123456789,
    "big": 0xFEDCBA9876543210,
    "huge": -((1 << 100) + 5),
    "vast": (0xFEDC << 112) + 9,
    "third": 0.25,
    "half": -0.5,
    "color": "RED",
    "unknown": 42,
    "small": "ON",
    "wide": "MUCH",
    "bits_a": 5,
    "bits_b": 1234,
    "bits_c": -33,
    "bits_d": 0x7ABCDEF0123,
    "bits_e": True,
    "bits_f": "BLUE",
    "bits_g": 0xDEADBEEF,
    "matrix": [[1, -2, 3], [4, 5, -6]],
    "names": ["ab", "wxyz"],
    "inner": {"a": 7, "b": -8},
    "inners": [{"a": 9, "b": 10}, {"a": 11, "b": -12}],
    "word": 0x11223344,
    "nowhere": 0xFFFF888012345678,
    "call": 16,
    "anon": {"n": 77},
    "packed_from_here": 200,
    "packed": {"x": 1, "y": 0xABCDE, "z": 0x987, "w": 0x1122334455667788},
    "items": [],
}


@pytest.mark.parametrize("order", ORDERS)
def test_what_the_compiler_wrote(run: Run, tmp_path: Path, order: ByteOrder) -> None:
    (tmp_path / "value.c").write_text(_SOURCE)
    path = tmp_path / "value.o"
    run("clang-19", "-g", "-O2", "-target", TARGETS[order], "-c", tmp_path / "value.c", "-o", path)
    elf = Elf(path.read_bytes())
    sections = {section.name: elf.content(section) for section in elf.sections}
    btf, data = Btf(sections[".BTF"]), sections[".data.value"]
    expected = dict(_EXPECTED)
    expected["bytes"] = list((0x11223344).to_bytes(4, order))
    expected["low"], expected["high"] = struct.unpack(
        ("<" if order == "little" else ">") + "HH", bytes(expected["bytes"])
    )

    sample = btf.require("sample", t.StructType)
    value = decode(btf, sample, data)
    assert value == expected
    assert isinstance(value, dict)
    assert list(value)[-9:] == (
        ["bytes", "low", "high", "nowhere", "call", "anon", "packed_from_here", "packed", "items"]
    )
    for name, found in value.items():
        assert type(found) is _TYPES.get(name, type(expected[name])), name
    assert decode(btf, sample, b"\0" * 7 + data, 7) == value
    assert decode(btf, sample, memoryview(bytearray(data))) == value
    # The section, as clang leaves it: all offsets are 0, which is right for one variable.
    assert decode(btf, btf.require(".data.value", t.Datasec), data) == {"value": value}
    assert decode(btf, btf.require("value", t.Var), data) == value


_TYPES: dict[str, type] = {
    "color": EnumValue,
    "small": EnumValue,
    "wide": EnumValue,
    "bits_f": EnumValue,
}


def test_text_ends_at_nul_and_is_never_undecodable() -> None:
    b = BtfBuilder()
    char = b.add_int("char", 1, IntEncoding.SIGNED)
    text = b.add_array(char, 6)
    utf8 = b.add_array(b.add_typedef("char8_t", b.add_int("byte", 1, IntEncoding.CHAR)), 6)
    octets = b.add_array(b.add_int("unsigned char", 1), 6)
    empty = b.add_array(char, 0)
    btf = b.btf()
    assert decode(btf, text, b"ab\0cd\xff") == "ab"
    assert decode(btf, text, b"abcdef") == "abcdef"
    assert decode(btf, text, b"\xff\xc3\xa4\xc3\0\0") == "\\xffä\\xc3"
    assert decode(btf, utf8, b"ab\0cd\xff") == "ab"
    assert decode(btf, octets, b"ab\0cd\xff") == [97, 98, 0, 99, 100, 255]
    assert decode(btf, empty, b"") == ""
    assert decode(btf, char, b"\x80") == -128


@pytest.mark.parametrize("order", ORDERS)
def test_bitfields_as_before_linux_4_20(order: ByteOrder) -> None:
    b = BtfBuilder()
    low = b.add_int("unsigned int", 4, bits=3)
    high = b.add_int("int", 4, IntEncoding.SIGNED, bits=7, offset=3)
    byte = b.add_int("unsigned char", 1)
    old = b.add_struct("old", 4, [("low", low, 0), ("high", high, 0), ("odd", byte, 12)])
    bits = [1, 0, 1, *(1, 1, 0, 1, 1, 1, 0), 0, 0, *(1, 0, 0, 0, 0, 0, 1, 1)]
    if order == "little":  # the first bit is the lowest one
        data = sum(bit << at for at, bit in enumerate(bits)).to_bytes(4, order)
        expected = {"low": 0b101, "high": 0b0111011, "odd": 0b11000001}
    else:  # the first bit is the highest one
        data = sum(bit << 31 - at for at, bit in enumerate(bits)).to_bytes(4, order)
        expected = {"low": 0b101, "high": 0b1101110 - 128, "odd": 0b10000011}
    assert decode(b.btf(order), old, data) == expected


def test_enums_of_old_compilers_have_no_sign() -> None:
    b = BtfBuilder()
    enum = b.add_enum("e", [("MINUS", -1), ("FIRST", 1), ("SECOND", 1)], size=1)
    value = decode(b.btf(), enum, b"\xff")
    assert value == "MINUS"
    assert decode(b.btf(), enum, b"\x01") == "FIRST"
    assert decode(b.btf(), enum, b"\x02") == 2
    first = decode(b.btf(), enum, b"\x01")
    assert isinstance(first, EnumValue) and first.value == 1


def test_bits_of_an_enum_of_absurd_size() -> None:
    b = BtfBuilder()
    enum = b.add_enum("e", [("A", 1)], size=0xFFFFFFFF)
    holder = b.add_struct("holder", 1, [("x", enum, 0, 2)])
    assert decode(b.btf(), holder, b"\x01") == {"x": "A"}


def test_floats() -> None:
    b = BtfBuilder()
    half, wide = b.add_float("_Float16", 2), b.add_float("long double", 16)
    btf = b.btf("big")
    assert decode(btf, half, b"\x3e\x00") == 1.5
    assert decode(btf, wide, bytes(range(16))) == bytes(range(16))


def test_sections() -> None:
    btf = everything().btf()
    data = struct.pack("<I4x", 7) + bytes(120)
    value = decode(btf, btf.require(".data", t.Datasec), data)
    assert isinstance(value, dict)
    assert list(value) == ["counter", "head"]
    assert value["counter"] == 7
    # Functions have no value; a section's size may not be known yet.
    assert decode(btf, btf.require(".ksyms", t.Datasec), data) == {"CONFIG_HZ": 7}
    with pytest.raises(BadObject, match=r"'datasec .ksyms' of 4 bytes .* not within 3 bytes"):
        decode(btf, btf.require(".ksyms", t.Datasec), data[:3])


@pytest.mark.parametrize("offset", [-1, 1, 5])
def test_offset_outside(offset: int) -> None:
    with pytest.raises(BadObject, match=f"'int' of 4 bytes at offset {offset} is not within 4"):
        decode(everything().btf(), TypeId(1), bytes(4), offset)
