"""Values as text and as JSON: those of each kind, and of BTF that is damaged."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.types import IntEncoding, TypeId
from lskel.cli.values import HexAddress, Plain, as_json, as_text, to_plain
from lskel.errors import LimitExceeded, LskelError
from lskel.runtime import values as v
from lskel.runtime.values import codec_of
from lskel.skeleton.classes import TypeClasses
from lskel.skeleton.types import TypeDeclarations
from tests.btf.decoder import decode
from tests.btf.samples import LIMIT_MS, damaged, everything
from tests.build.btf import BtfBuilder

VALUE: Plain = {
    "pid": 1,
    "ok": True,
    "comm": 'ba"sh\n',
    "next": HexAddress(0xFFFF888100000000),
    "load": 0.5,
    "nan": float("nan"),
    "raw": b"\x01\xff",
    "list": [1, [2, 3], {"x": -4}],
    "none": [],
}


class State(IntEnum):
    RUNNING = 0
    MINUS = -1


@v.layout(8, ("x", v.u16, 0), ("bits", v.Bits(16, 3, v.s32)), ("on", v.Bits(19, 1, v.boolean)))
class Small(v.Struct):
    x: int
    bits: int
    on: bool


@v.layout(4, ("word", v.u32, 0), ("octets", v.array(v.u8, 4), 0))
class Either(v.Union):
    word: int
    octets: v.Array[int]


def test_text() -> None:
    assert as_text(VALUE) == (
        '{pid=1, ok=true, comm="ba\\"sh\\n", next=0xffff888100000000, load=0.5, nan=nan, '
        "raw=01 ff, list=[1, [2, 3], {x=-4}], none=[]}"
    )
    assert as_text([*range(64)]).endswith("62, 63]")
    assert as_text([*range(100)]).endswith("62, 63, ... 36 more]")
    assert as_text([[*range(65)]]).endswith("63, ... 1 more]]")
    assert as_text({"a\n": "\x1b\x7f\u2028\udc80\\xff"}) == r'{a\n="\u001b\x7f\u2028\udc80\\xff"}'


def test_json() -> None:
    assert json.loads(json.dumps(as_json(VALUE), allow_nan=False)) == {
        "pid": 1,
        "ok": True,
        "comm": 'ba"sh\n',
        "next": "0xffff888100000000",
        "load": 0.5,
        "nan": "nan",
        "raw": "01ff",
        "list": [1, [2, 3], {"x": -4}],
        "none": [],
    }
    assert as_json([float("inf"), -float("inf"), *range(100)]) == ["inf", "-inf", *range(100)]
    assert [type(item) for item in (as_json(True), as_json(HexAddress(1)))] == [bool, str]


def test_plain() -> None:
    """What values of each type come down to."""
    state, deep = v.enum(State, v.s32), v.array(v.array(v.pointer, 1), 2)
    for kind, value, wanted in (
        (v.u64, (1 << 64) - 1, (1 << 64) - 1),
        (v.boolean, True, True),
        (v.f64, 0.5, 0.5),
        (state, 0, "RUNNING"),
        (state, -1, "MINUS"),
        (state, 42, 42),
        (v.text(8), b"b\xc3\xa4sh\xff\0x", "bäsh\\xff"),
        (v.raw(3), b"a\0\xff", b"a\0\xff"),
        (v.array(state, 2), [0, 3], ["RUNNING", 3]),
        (v.array(v.text(2), 2), [b"a", b"bc"], ["a", "bc"]),
        (Small, Small(5, -3, True), {"x": 5, "bits": -3, "on": True}),
        (v.array(Small, 1), [Small(5)], [{"x": 5, "bits": 0, "on": False}]),
        (
            Either,
            Either(octets=[1, 2, 3, 4]),
            {"word": int.from_bytes(b"\1\2\3\4", sys.byteorder), "octets": [1, 2, 3, 4]},
        ),
    ):
        codec: v.Codec[Any] = codec_of(kind)
        found = to_plain(kind, codec.decode(codec.encode(value)))
        assert found == wanted and type(found) is type(wanted)
    assert as_text(to_plain(v.pointer, 16)) == "0x10"
    assert as_text(to_plain(deep, v.codec(deep).decode(bytes(16)))) == "[[0x0], [0x0]]"
    # One for each CPU.
    assert to_plain(state, [0, -1, 2]) == ["RUNNING", "MINUS", 2]


def _kind(btf: Btf, type_id: TypeId) -> Any:
    types = TypeDeclarations(btf)
    return TypeClasses(types).value(types.type(type_id))


def _empty_things(b: BtfBuilder) -> None:
    b.add_array(3, 1 << 10)
    b.add_array(4, 1 << 10)
    b.add_struct("", 0)


def _unions_of_unions(b: BtfBuilder) -> None:
    for number in range(40):
        b.add_union("", 4, [("x", 3 + number, 0), ("y", 3 + number, 0)])
    b.add_int("int", 4)


@pytest.mark.parametrize("wrong", [_empty_things, _unions_of_unions])
def test_values_of_far_more_parts_than_bytes(wrong: Callable[[BtfBuilder], None]) -> None:
    b = BtfBuilder()
    b.add_int("int", 4, IntEncoding.SIGNED)
    wrong(b)
    kind = _kind(b.btf(), TypeId(2))
    codec: v.Codec[Any] = v.codec(kind)
    with pytest.raises(LimitExceeded, match="parts of a value, at most 65"):
        to_plain(kind, codec.decode(bytes(codec.size)))


def test_arrays_of_nothing() -> None:
    """Even their class is too much."""
    b = BtfBuilder()
    b.add_array(2, 1 << 31)
    b.add_struct("", 0)
    with pytest.raises(LimitExceeded, match="2147483648 array elements of 0 bytes, at most 65536"):
        _kind(b.btf(), TypeId(1))


@settings(deadline=LIMIT_MS)
@given(st.binary(min_size=104, max_size=104))
def test_as_the_decoder_has_it(data: bytes) -> None:
    btf = Btf(everything().bytes(sys.byteorder))
    node = btf.require("node", t.StructType)
    kind = _kind(btf, node)
    found = to_plain(kind, v.codec(kind).decode(data))
    assert as_text(found).isprintable()
    shown, wanted = json.loads(json.dumps(as_json(found), allow_nan=False)), decode(btf, node, data)
    assert isinstance(wanted, dict)
    wanted["next"], wanted["address"] = (
        f"{struct.unpack_from('=Q', data, place)[0]:#x}" for place in (0, 24)
    )
    if shown["real"] != wanted["real"]:  # infinity and NaN are text
        assert shown["real"] == repr(wanted["real"])
    assert shown | {"real": 0} == wanted | {"real": 0}
    assert list(shown) == list(wanted)


@settings(deadline=LIMIT_MS)
@given(damaged(), st.binary(min_size=256, max_size=256))
def test_damaged_btf_raises_only_our_errors(raw: bytes, data: bytes) -> None:
    try:
        btf = Btf(raw)
    except LskelError:
        return
    for type_id in range(len(btf)):
        try:
            kind = _kind(btf, TypeId(type_id))
            codec: v.Codec[Any] = v.codec(kind)
            if codec.size > len(data):
                continue
            value = to_plain(kind, codec.decode(data[: codec.size]))
        except LskelError as error:
            assert str(error)
        else:
            assert as_text(value).isprintable()
            json.dumps(as_json(value), allow_nan=False)
