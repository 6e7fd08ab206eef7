"""Values of C types, compared with module struct and with ctypes' own classes."""

from __future__ import annotations

import ctypes
import struct
import sys
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lskel.errors import OutOfRange, UnknownName, UsageError, WrongType, WrongValue
from lskel.runtime import values as v
from lskel.runtime.values.frozen import frozen

INTS = {
    v.u8: "B",
    v.u16: "H",
    v.u32: "I",
    v.u64: "Q",
    v.s8: "b",
    v.s16: "h",
    v.s32: "i",
    v.s64: "q",
    v.pointer: "Q",
}
WIDE = {v.u128: False, v.s128: True}


class Color(IntEnum):
    RED = 0
    BLUE = 3


@v.layout(8, ("x", v.s32, 0), ("y", v.s32, 4))
class Point(v.Struct):
    x: int
    y: int


@v.layout(8, ("number", v.u32, 0), ("address", v.pointer, 0), ("low", v.Bits(0, 4, v.s32)))
class Choice(v.Union):
    number: int
    address: int
    low: int


@v.layout(
    120,
    ("count", v.u64, 0),
    ("comm", v.text(8), 8),
    ("minus", v.Bits(8 * 16 + 3, 5, v.s32)),
    ("flag", v.Bits(8 * 17, 1, v.boolean)),
    ("at", Point, 20),
    ("path", v.array(Point, 2), 28),
    ("color", v.enum(Color, v.u32), 44),
    ("", Choice, 48),
    ("wide", v.Bits(8 * 56, 128, v.s128)),
    ("names", v.array(v.text(4), 2), 72),
    ("wides", v.array(v.u128, 1), 80),
    ("ratio", v.f32, 96),
    ("grid", v.array(v.array(v.u8, 2), 2), 100),
    ("small", v.array(v.u16, 3), 104),
    ("next", v.pointer, 110),
    ("tail", v.array(v.u32, 0), 120),
)
class Rich(v.Struct):
    count: int
    comm: bytes
    minus: int
    flag: bool
    at: Point
    path: v.Array[Point]
    color: int
    number: int
    address: int
    low: int
    wide: int
    names: v.Array[bytes]
    wides: v.Array[int]
    ratio: float
    grid: v.Array[v.Array[int]]
    small: v.Array[int]
    next: int
    tail: v.Array[int]


def rich() -> Rich:
    return Rich(
        7,
        b"bash",
        minus=-3,
        flag=True,
        at=(1, -2),
        path=[Point(3, 4), {"y": 6}],
        color=Color.BLUE,
        address=0xFFFF888000000001,
        wide=-5,
        names=(b"eth0", b"lo"),
        wides=[1 << 127],
        ratio=1.5,
        grid=[[1, 2], b"\3\4"],
        small=range(3),
        next=255,
    )


AS_DICT = {
    "count": 7,
    "comm": b"bash",
    "minus": -3,
    "flag": True,
    "at": {"x": 1, "y": -2},
    "path": [{"x": 3, "y": 4}, {"x": 0, "y": 6}],
    "color": 3,
    "number": 1 if sys.byteorder == "little" else 0xFFFF8880,
    "address": 0xFFFF888000000001,
    "low": 1 if sys.byteorder == "little" else -1,
    "wide": -5,
    "names": [b"eth0", b"lo"],
    "wides": [1 << 127],
    "ratio": 1.5,
    "grid": [[1, 2], [3, 4]],
    "small": [0, 1, 2],
    "next": 255,
    "tail": [],
}


def test_members() -> None:
    value = rich()
    assert value.asdict() == AS_DICT
    assert (value.at.y, value.path[1].y, value.grid[1][0]) == (-2, 6, 3)
    assert value.small == [0, 1, 2] == list(value.small)
    assert [*value.names] == value.names[:] == [b"eth0", b"lo"]
    assert value.names[-1] == b"lo"
    assert (value.flag, type(value.flag), type(value.count)) == (True, bool, int)


def test_repr() -> None:
    assert repr(rich()) == (
        "Rich(count=7, comm=b'bash', minus=-3, flag=True, at=Point(x=1, y=-2), "
        "path=[Point(x=3, y=4), Point(x=0, y=6)], color=Color.BLUE, number=1, "
        "address=0xffff888000000001, low=1, wide=-5, names=[b'eth0', b'lo'], "
        "wides=[170141183460469231731687303715884105728], ratio=1.5, grid=[[1, 2], [3, 4]], "
        "small=[0, 1, 2], next=0xff, tail=[])"
    )
    assert repr(Rich(color=2)).startswith("Rich(count=0, comm=b'', minus=0, flag=False")
    assert "color=2," in repr(Rich(color=2))
    assert repr(v.array(v.u8, 100)()) == f"[{'0, ' * 64}... 36 more]"


def test_copies_are_equal() -> None:
    value = rich()
    again = Rich(**value.asdict())
    assert bytes(again) == bytes(value)
    assert again == value and hash(again) == hash(value)
    again.path[1].x = 1
    assert again != value
    assert Point(1, 2) != (1, 2)


def test_padding_is_no_value() -> None:
    one, other = bytearray(120), bytearray(120)
    other[18] = 1  # behind the bit-fields
    assert bytes(one) != bytes(other)
    first, second = Rich.from_buffer(one), Rich.from_buffer(other)
    assert first == second and hash(first) == hash(second)
    assert "18" not in repr(second)


def test_shorter_text_leaves_nothing_behind() -> None:
    value = rich()
    value.comm = b"longer!!"
    value.names[0] = b"long"
    value.comm, value.names[0] = b"a", b""
    assert bytes(value)[8:16] == b"a".ljust(8, b"\0")
    assert bytes(value)[72:76] == bytes(4)
    value.comm = b"a\0b"
    assert value.comm == b"a"
    assert bytes(value)[8:16] == b"a\0b".ljust(8, b"\0")


def test_a_buffer_is_live() -> None:
    memory = bytearray(128)
    value = Rich.from_buffer(memory)
    value.count = 1
    value.path[1].x = 2
    value.minus = -1
    assert memory[0:8] == struct.pack("=Q", 1)
    assert memory[36:40] == struct.pack("=i", 2)
    assert memory[16] == (0xF8 if sys.byteorder == "little" else 0x1F)
    memory[0:8] = struct.pack("=Q", 9)
    assert value.count == 9


REFUSALS: list[tuple[str, type[Exception], str]] = [
    ("value.count = -1", OverflowError, "Rich.count: u64: -1 is not in 0 to 1844674.*"),
    ("value.count = 1 << 64", OverflowError, "Rich.count: u64: .* is not in"),
    ("value.count = 1.5", TypeError, "Rich.count: u64: expected an integer, got float"),
    ("value.at.x = 1 << 31", OverflowError, "Point.x: s32: .* is not in -2147483648 to 2147483647"),
    ("value.at = (1, 'x')", TypeError, "Rich.at: Point.y: s32: expected an integer, got str"),
    ("value.at = (1, 2, 3)", ValueError, "Rich.at: Point takes fewer than 3 values"),
    ("value.at = 5", TypeError, "Rich.at: expected Point, dict or tuple, got int"),
    ("value.at = {'z': 1}", AttributeError, "Rich.at: Point: no member 'z'"),
    ("value.cuont = 1", AttributeError, r"Rich: no member 'cuont' \(available: count"),
    ("value.cuont", AttributeError, r"Rich: no member 'cuont' \(available: count"),
    ("Rich(cuont=1)", AttributeError, r"Rich: no member 'cuont' \(available: count"),
    ("Rich(1, count=1)", UsageError, "Rich.count is set twice"),
    ("Choice(1, 2)", ValueError, "Choice takes fewer than 2 values"),
    ("value.comm = b'123456789'", ValueError, "Rich.comm: 9 bytes do not fit into 8"),
    ("value.comm = 'bash'", TypeError, "Rich.comm: expected bytes, got str: encode"),
    ("value.names[1] = b'12345'", ValueError, r"\[1\]: 5 bytes do not fit into 4"),
    ("value.names = [b'', b'12345']", ValueError, r"Rich.names: \[1\]: 5 bytes do not fit into 4"),
    ("value.minus = 16", OverflowError, "Rich.minus: s5: 16 is not in -16 to 15"),
    ("value.minus = 'x'", TypeError, "Rich.minus: s5: expected an integer, got str"),
    ("value.flag = 2", OverflowError, "Rich.flag: bool: expected True or False, got 2"),
    ("value.flag = 'no'", TypeError, "Rich.flag: bool: expected True or False, got str"),
    ("value.wide = 1 << 127", OverflowError, "Rich.wide: s128: .* is not in"),
    ("value.wides[0] = -1", OverflowError, r"\[0\]: u128: .* is not in 0"),
    ("value.ratio = 1e300", OverflowError, r"Rich.ratio: 1e\+300 does not fit into f32"),
    ("value.ratio = 'x'", TypeError, "Rich.ratio: f32: expected a number, got str"),
    ("value.small = [1, 2]", ValueError, "Rich.small: expected 3 elements, got 2"),
    (
        "value.small = [1, 2, 65536]",
        OverflowError,
        r"Rich.small: \[2\]: u16: .* is not in 0 to 65535",
    ),
    (
        "value.small = {1, 2, 3}",
        TypeError,
        "Rich.small: expected a sequence of 3 elements, got set",
    ),
    ("value.small = 5", TypeError, "Rich.small: expected a sequence of 3 elements, got int"),
    ("value.small[1] = -1", OverflowError, r"\[1\]: u16: .* is not in 0"),
    ("value.small[0:2] = [1]", ValueError, "expected 2 elements, got 1"),
    ("value.small[3] = 1", IndexError, "index"),
    (
        "value.grid = [[1, 2], [3, 256]]",
        OverflowError,
        r"Rich.grid: \[1\]: \[1\]: u8: .* is not in",
    ),
    ("value.grid[0] = b'123'", ValueError, r"\[0\]: expected 2 elements, got 3"),
    ("value.tail = [1]", ValueError, "Rich.tail: expected 0 elements, got 1"),
]

# What lskel raises in place of Python's own.
OURS: dict[type[Exception], type[Exception]] = {
    AttributeError: UnknownName,
    OverflowError: OutOfRange,
    TypeError: WrongType,
    ValueError: WrongValue,
}


@pytest.mark.parametrize(("code", "error", "text"), REFUSALS, ids=[code for code, *_ in REFUSALS])
def test_refusals_change_nothing(code: str, error: type[Exception], text: str) -> None:
    value = rich()
    with pytest.raises(error, match=text) as caught:
        exec(code, {"value": value, "Rich": Rich, "Choice": Choice})
    assert type(caught.value) is OURS.get(error, error)
    assert value == rich()


@given(st.data(), st.sampled_from([*INTS]))
def test_integers_are_those_of_struct(data: st.DataObject, ctype: Any) -> None:
    code = INTS[ctype]
    number = data.draw(st.integers(-(1 << 66), 1 << 66) | st.integers(-300, 300))
    codec = v.codec(ctype)
    try:
        wanted = struct.pack(f"={code}", number)
    except struct.error:
        with pytest.raises(OverflowError, match="is not in"):
            codec.encode(number)
        return
    assert codec.encode(number) == wanted
    assert (codec.size, codec.decode(wanted)) == (len(wanted), number)


@given(st.sampled_from([*WIDE]), st.integers(-(1 << 127), (1 << 128) - 1))
def test_wide_integers(ctype: Any, number: int) -> None:
    signed = WIDE[ctype]
    codec: v.Codec[int] = v.codec(ctype)
    try:
        wanted = number.to_bytes(16, sys.byteorder, signed=signed)
    except OverflowError:
        with pytest.raises(OverflowError, match="is not in"):
            codec.encode(number)
        return
    assert codec.encode(number) == wanted
    assert codec.decode(wanted) == number


class _Native(ctypes.Structure):
    _fields_ = (("skipped", ctypes.c_uint64, 11), ("field", ctypes.c_int64, 37))


@given(st.integers(-(1 << 38), 1 << 38), st.binary(min_size=8, max_size=8))
def test_bits_are_those_of_ctypes(number: int, around: bytes) -> None:
    made = type("Mine", (v.Struct,), {})
    cls: Any = v.layout(8, ("field", v.Bits(11, 37, v.s64)))(made)
    mine, native = cls.from_buffer_copy(around), _Native.from_buffer_copy(around)
    assert mine.field == native.field
    if not -(1 << 36) <= number < 1 << 36:
        with pytest.raises(OverflowError, match="s37"):
            mine.field = number
        return
    mine.field = native.field = number
    assert bytes(mine) == bytes(native)
    assert mine.field == number


@pytest.mark.parametrize(
    ("ctype", "values"),
    [
        (v.u32, [1, 2, 0xFFFFFFFF]),
        (v.boolean, [True, False, True]),
        (v.f64, [1.5, -2.0, 0.0]),
        (v.text(5), [b"a", b"", b"12345"]),
        (v.u128, [1, 1 << 127, 0]),
        (Point, [Point(1, 2), Point(3, 4), Point(5, 6)]),
        (v.array(v.u16, 3), [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        (v.enum(Color, v.u32), [0, 3, 5]),
    ],
)
@pytest.mark.parametrize("gap", [0, 3])
def test_many_at_once(ctype: Any, values: list[Any], gap: int) -> None:
    codec: v.Codec[Any] = v.codec(ctype)
    data = b"".join(codec.encode(value) + bytes(gap) for value in values)
    step = codec.size + gap
    assert codec.decode_many(data, 3, step) == values
    assert codec.decode_many(data, 2, step) == values[:2]
    ones = [codec.decode(data[at : at + codec.size]) for at in range(0, len(data), step)]
    assert ones == values
    assert list(map(type, ones)) == list(map(type, codec.decode_many(data, 3, step)))


def test_decoded_values_own_their_memory() -> None:
    data = bytearray(8)
    point = v.codec(Point).decode(data)
    data[0] = 1
    point.y = 5
    assert (point.x, data[4]) == (0, 0)


def test_raw() -> None:
    codec = v.raw(4)
    assert codec.encode(bytearray(b"1234")) == codec.decode(memoryview(b"1234")) == b"1234"
    with pytest.raises(ValueError, match="expected 4 bytes, got 3"):
        codec.encode(b"123")
    with pytest.raises(TypeError, match="expected bytes, got int"):
        codec.encode(4)


def test_no_type_of_a_value() -> None:
    with pytest.raises(TypeError, match="not a value type"):
        v.codec(dict)


def test_classes_of_arrays_are_made_once() -> None:
    assert v.array(v.u32, 3) is v.array(v.u32, 3)
    assert v.text(16) is v.text(16)
    assert v.enum(Color, v.u32) is v.enum(Color, v.u32)


def test_frozen() -> None:
    value = rich()
    fixed = frozen(Rich, bytes(value), "set it before load()")
    assert fixed == value and value == fixed and hash(fixed) == hash(value)
    assert isinstance(fixed, Rich)
    assert fixed.asdict() == AS_DICT
    assert [type(fixed.small), type(fixed.grid), type(fixed.grid[0])] == [tuple] * 3
    assert fixed.path[1].y == 6
    text = r"count is read-only \(set it before load\(\)\)"
    with pytest.raises(UsageError, match=text):
        fixed.count = 1
    with pytest.raises(AttributeError, match=text):
        fixed.count = 1
    with pytest.raises(UsageError, match=r"Point\.x is read-only"):
        fixed.at.x = 1
    with pytest.raises(UsageError, match=r"Point\.x is read-only"):
        fixed.path[1].x = 1
    with pytest.raises(UsageError, match="minus is read-only"):
        fixed.minus = 1


@pytest.mark.parametrize(
    "fields",
    [
        [("a", v.u32, 0), ("b", v.u32, 2)],
        [("a", v.u32, 0), ("b", v.u64, 4)],
    ],
)
def test_members_that_cannot_be_there(fields: list[Any]) -> None:
    with pytest.raises(ValueError, match="Bad"):
        v.layout(8, *fields)(type("Bad", (v.Struct,), {}))
