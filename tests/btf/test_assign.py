"""Setting variables from text gives the bytes that clang gives for the same initial value."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

import lskel
from lskel.errors import NotFound, UsageError
from lskel.replay.options import Options, apply
from lskel.replay.prepared_trace import prepare_trace
from lskel.skeleton.dynamic import collection_of
from lskel.trace import MapUpdate, Trace
from tests.build.clang import compile_bpf

TYPES = """
enum mode { OFF, SLOW = -3, FAST = 7 };
enum wide { FEW = 1, MANY = 1ULL << 40 };
struct bits { unsigned a : 3, b : 7; int c : 5; unsigned long long d : 40; };
struct inner { short list[3]; union { int number; char byte; }; };
struct outer { char name[8]; struct inner inners[2]; struct bits bits; void *next; _Bool on; };
"""
USE = """
SEC("raw_tp/x") int use(void *ctx)
{ __builtin_memcpy((void *)&out, (void *)&v, sizeof(out) < sizeof(v) ? sizeof(out) : sizeof(v));
  return 0; }
"""

# The variable's declaration, what is set, and the same as C's initial value.
CASES = [
    ("int v", "v", "-5", "-5"),
    ("unsigned v", "v", "0xdeadbeef", "0xdeadbeef"),
    ("unsigned long long v", "v", "0b101", "5"),
    ("signed char v", "v", "-128", "-128"),
    ("_Bool v", "v", "true", "1"),
    ("float v", "v", "1.5", "1.5f"),
    ("double v", "v", "-2e300", "-2e300"),
    ("enum mode v", "v", "SLOW", "SLOW"),
    ("enum mode v", "v", "7", "FAST"),
    ("enum wide v", "v", "MANY", "MANY"),
    ("char v[8]", "v", "grüß", '"grüß"'),
    ("int v[3]", "v", "1,-2,3", "{1, -2, 3}"),
    ("int v[2][3]", "v[1][2]", "9", "{[1][2] = 9}"),
    ("struct outer v", "v.name", "abc", '{.name = "abc"}'),
    ("struct outer v", "v.inners[1].list[2]", "-7", "{.inners[1].list[2] = -7}"),
    ("struct outer v", "v.inners[1].number", "77", "{.inners[1].number = 77}"),
    ("struct outer v", "v.bits.a", "5", "{.bits.a = 5}"),
    ("struct outer v", "v.bits.b", "100", "{.bits.b = 100}"),
    ("struct outer v", "v.bits.c", "-16", "{.bits.c = -16}"),
    ("struct outer v", "v.bits.d", "0xfedcba9876", "{.bits.d = 0xfedcba9876}"),
    ("struct outer v", "v.next", "0x1234", "{.next = (void *)0x1234}"),
    ("struct outer v", "v.on", "y", "{.on = 1}"),
]


def trace(declaration: str, value: str, *, big_endian: bool = False) -> Trace:
    source = f'{TYPES}volatile {declaration} SEC(".data.v") = {value};char out[8];{USE}'
    return lskel.open_object(compile_bpf(source, big_endian=big_endian), "x").trace()


def content(of: Trace) -> bytes:
    """The initial value of the section, all of it."""
    (slot,) = (n for n, made in enumerate(of.maps) if made.section == ".data.v")
    number = of.initial_value(slot)
    assert number is not None
    write = of.ops[number]
    assert isinstance(write, MapUpdate) and isinstance(write.value, bytes)
    return write.value.ljust(write.size, b"\0")


def assigned(of: Trace, name: str, value: str) -> Trace:
    bpf = collection_of(of)
    apply(Options(variables={name: value}), bpf, of)
    with ExitStack() as stack:
        return prepare_trace(of, bpf.request(stack, stack)).trace


@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
@pytest.mark.parametrize(("declaration", "path", "text", "value"), CASES)
def test_as_clang(declaration: str, path: str, text: str, value: str, big_endian: bool) -> None:
    zero = trace(declaration, "{}", big_endian=big_endian)
    expected = content(trace(declaration, value, big_endian=big_endian))
    assert any(expected) and not any(content(zero))
    assert content(assigned(zero, f"data_v.{path}", text)) == expected


def test_bits_leave_their_neighbours() -> None:
    full = trace("struct outer v", "{.bits = {7, 127, -1, 0xffffffffff}}")
    expected = content(trace("struct outer v", "{.bits = {7, 0, -1, 0xffffffffff}}"))
    assert content(assigned(full, "data_v.v.bits.b", "0")) == expected


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("v", "1", "no section of variables 'v' .available: data_v, bss"),
        ("bss.v", "1", "v: no variable 'v' .it is in .data.v"),
        ("data_v.w", "1", "w: no variable 'w' .available: v"),
        ("data_v.v", "1", "v: it is not a number or text .select one of its members"),
        ("data_v.v.x", "1", "no member 'x' .available: name, inners"),
        ("data_v.v.name", "12345678", "v.name: 8 bytes and a NUL do not fit into 8"),
        ("data_v.v.inners[2].number", "1", r"\[2\] is out of range: the array has 2 elements"),
        ("data_v.v[0]", "1", r"\[0\]: not an element of an array"),
        ("data_v.v.on.x", "1", "'x': not a member of a struct"),
        ("data_v.v.bits.a", "8", "v.bits.a: u3: 8 is not in 0 to 7"),
        ("data_v.v.bits.c", "16", "v.bits.c: s5: 16 is not in -16 to 15"),
        ("data_v.v.bits.a", "many", "v.bits.a: 'many' is not a number"),
        ("data_v.v.inners[0].list", "1,2", r"v.inners\[0\].list: expected 3 elements, got 2"),
        ("data_v.v..a", "1", "expected a variable name"),
        ("data_v.", "1", "expected a variable name"),
    ],
)
def test_errors(name: str, text: str, error: str) -> None:
    with pytest.raises((UsageError, NotFound), match=error):
        assigned(trace("struct outer v", "{}"), name, text)
