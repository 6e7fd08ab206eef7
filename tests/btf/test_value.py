"""Values: bytes that a compiler wrote, bytes by hand, and BTF that is wrong."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.types import IntEncoding, TypeId
from lskel.btf.value import Decoder, EnumValue, Pointer, Value, decode, format_value, to_json
from lskel.cursor import ByteOrder
from lskel.elf.object import Elf
from lskel.errors import BadObject, LimitExceeded, LskelError
from tests.btf.samples import LIMIT_MS, ORDERS, damaged, everything
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

    sample = btf.require("sample", t.Struct)
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
    assert json.loads(json.dumps(to_json(value)))["nowhere"] == "0xffff888012345678"


_TYPES: dict[str, type] = {
    "color": EnumValue,
    "small": EnumValue,
    "wide": EnumValue,
    "bits_f": EnumValue,
    "nowhere": Pointer,
    "call": Pointer,
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
    assert repr(decode(b.btf(), enum, b"\x01")) == "EnumValue('FIRST', 1)"


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


_VALUE: Value = {
    "pid": 1,
    "ok": True,
    "comm": 'ba"sh\n',
    "state": EnumValue("RUNNING", 0),
    "next": Pointer(0xFFFF888100000000),
    "load": 0.5,
    "nan": float("nan"),
    "raw": b"\x01\xff",
    "list": [1, [2, 3], {"x": -4}],
    "none": [],
}


def test_format() -> None:
    assert format_value(_VALUE) == (
        '{pid=1, ok=true, comm="ba\\"sh\\n", state=RUNNING, next=0xffff888100000000, load=0.5, '
        "nan=nan, raw=0x01ff, list=[1, [2, 3], {x=-4}], none=[]}"
    )
    assert format_value(list(range(100)), max_items=3) == "[0, 1, 2, ... 97 more]"
    assert format_value([[1, 2], [3, 4]], max_items=1) == "[[1, ... 1 more], ... 1 more]"
    assert format_value([1, 2], max_items=2) == "[1, 2]"
    assert format_value({"a\n": "\x1b\x7f\u2028\udc80\\xff"}) == (
        r'{a\n="\u001b\x7f\u2028\udc80\\xff"}'
    )
    assert repr(Pointer(16)) == "0x10"


def test_json() -> None:
    assert json.loads(json.dumps(to_json(_VALUE), allow_nan=False)) == {
        "pid": 1,
        "ok": True,
        "comm": 'ba"sh\n',
        "state": "RUNNING",
        "next": "0xffff888100000000",
        "load": 0.5,
        "nan": "nan",
        "raw": "0x01ff",
        "list": [1, [2, 3], {"x": -4}],
        "none": [],
    }
    assert type(to_json(EnumValue("RUNNING", 0))) is str


def test_what_is_no_value_does_not_print() -> None:
    with pytest.raises(TypeError, match="object is no decoded value"):
        format_value(object())  # type: ignore[arg-type]


def _short(b: BtfBuilder) -> None:
    b.add_struct("a", 8, [("x", 1, 0)])


def _behind(b: BtfBuilder) -> None:
    b.add_struct("a", 4, [("x", 1, 8)])


def _bits_behind(b: BtfBuilder) -> None:
    b.add_struct("a", 4, [("x", 1, 30, 3)])


def _inside_itself(b: BtfBuilder) -> None:
    b.add_array(3, 1)
    b.add_struct("a", 4, [("x", 2, 0)])


def _function(b: BtfBuilder) -> None:
    b.add_func_proto(0)


def _enum_of_2_gigabytes(b: BtfBuilder) -> None:
    b.add_enum("a", [("A", 1)], size=1 << 31)


def _forward(b: BtfBuilder) -> None:
    b.add_fwd("a")


def _empty_things(b: BtfBuilder) -> None:
    b.add_array(3, 1 << 31)
    b.add_struct("", 0)


def _unions_of_unions(b: BtfBuilder) -> None:
    for number in range(40):
        b.add_union("", 4, [("x", 3 + number, 0), ("y", 3 + number, 0)])
    b.add_int("int", 4)


def _nameless_unions(b: BtfBuilder) -> None:
    for number in range(40):
        b.add_union("", 4, [("", 3 + number, 0), ("", 3 + number, 0)])
    b.add_union("", 4, [("a", 1, 0), ("b", 1, 0)])


def _deep(b: BtfBuilder) -> None:
    for number in range(70):
        b.add_array(3 + number, 1)
    b.add_int("int", 4)


def _huge(b: BtfBuilder) -> None:
    b.add_array(1, 0xFFFFFFFF)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (_short, r"'struct a' of 8 bytes at offset 0 is not within 7 bytes"),
        (_behind, r"STRUCT 'a' \[2\] has members behind its 4 bytes"),
        (_bits_behind, r"STRUCT 'a' \[2\] has members behind its 4 bytes"),
        (_inside_itself, r"type \[2\] contains itself"),
        (_function, r"no values of FUNC_PROTO"),
        (_enum_of_2_gigabytes, r"no values of ENUM 'a' \[2\]"),
        (_forward, r"no values of FWD 'a' \[2\]"),
        (_empty_things, r"\[2\] of 0 bytes: 2147483649 parts, at most"),
        (_unions_of_unions, r"of 4 bytes: 131071 parts, at most 65792 allowed"),
        (_nameless_unions, r"131072 members, at most 65536 allowed"),
        (_deep, r"is nested in more than 64 types"),
        (_huge, r"'int\[4294967295\]' of 17179869180 bytes at offset 0 is not within 7 bytes"),
    ],
)
def test_wrong_btf(wrong: Callable[[BtfBuilder], None], message: str) -> None:
    b = BtfBuilder()
    b.add_int("int", 4, IntEncoding.SIGNED)
    wrong(b)
    with pytest.raises((BadObject, LimitExceeded), match=message):
        decode(b.btf(), TypeId(2), bytes(7))


@pytest.mark.parametrize("offset", [-1, 1, 5])
def test_offset_outside(offset: int) -> None:
    with pytest.raises(BadObject, match=f"'int' of 4 bytes at offset {offset} is not within 4"):
        decode(everything().btf(), TypeId(1), bytes(4), offset)


@settings(deadline=LIMIT_MS)
@given(damaged(), st.binary(max_size=200))
def test_damaged_btf_raises_only_our_errors(raw: bytes, data: bytes) -> None:
    try:
        btf = Btf(raw)
    except LskelError:
        return
    for type_id in range(len(btf)):
        try:
            value = Decoder(btf, TypeId(type_id))(data)
        except LskelError as error:
            assert str(error)
        else:
            assert format_value(value).isprintable()
            json.dumps(to_json(value), allow_nan=False)


@settings(deadline=LIMIT_MS)
@given(st.binary(min_size=104, max_size=104), st.sampled_from(ORDERS))
def test_any_data_decodes(data: bytes, order: ByteOrder) -> None:
    btf = everything().btf(order)
    value = decode(btf, btf.require("node", t.Struct), data)
    assert format_value(value).isprintable()
    json.dumps(to_json(value), allow_nan=False)
