"""BTF made by hand that has every kind in it, a module on top of it, and damaged copies."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from lskel.btf.kinds import Kind
from lskel.btf.types import FuncLinkage, IntEncoding, VarLinkage
from lskel.cursor import ByteOrder
from tests.build.btf import HEADER_SIZE, LAYOUT, BtfBuilder

# Milliseconds that no damaged BTF may take, on a busy machine either.
LIMIT_MS = 10_000
# Kinds that nobody knows, and how long they say that they are: the last as short as can be.
NEWER, NEWEST = Kind.ENUM64 + 2, 0x7F
NEWER_LAYOUT = {**LAYOUT, NEWER: (8, 16), NEWEST: (0, 0)}
ORDERS: tuple[ByteOrder, ...] = ("little", "big")


def everything() -> BtfBuilder:
    """Every kind, with every flag that a kind has."""
    b = BtfBuilder()
    int_ = b.add_int("int", 4, IntEncoding.SIGNED)
    u32 = b.add_int("unsigned int", 4)
    char = b.add_int("char", 1, IntEncoding.SIGNED)
    flag = b.add_int("_Bool", 1, IntEncoding.BOOL)
    wide = b.add_int("__int128", 16, IntEncoding.SIGNED)
    old = b.add_int("unsigned int", 4, bits=5, offset=3)  # a bit-field, as before Linux 4.20
    real = b.add_float("double", 8)
    color = b.add_enum("color", [("RED", -1), ("GREEN", 0), ("BLUE", 7)], signed=True)
    mask = b.add_enum64("mask", [("LOW", 1), ("ALL", (1 << 64) - 1)])
    low = b.add_enum64("low", [("LEAST", -(1 << 63)), ("NONE", 0)], signed=True)
    task = b.add_fwd("task_struct")
    b.add_fwd("sigval", union=True)
    pointer = b.add_ptr(b.add_const(b.add_volatile(b.add_type_tag("rcu", task))))
    b.add_type_tag("address_space(1)", char, attribute=True)
    name_t = b.add_typedef("name_t", b.add_array(char, 16, u32))
    choice = b.add_union("", 8, [("number", u32, 0), ("address", pointer, 0)])
    flags = b.add_struct(
        "flags", 8, [("a", u32, 0, 3), ("b", int_, 3, 7), ("c", color, 32, 4), ("d", flag, 40, 1)]
    )
    node = b.add_struct("node", 0)
    members = [
        ("next", b.add_ptr(node)),
        ("name", name_t),
        ("", choice),
        ("flags", flags),
        ("huge", wide),
        ("real", real),
        ("mask", mask),
        ("low", low),
        ("pairs", b.add_array(b.add_array(u32, 2), 2)),
        ("old", old),
        ("color", color),
        ("tail", b.add_array(u32, 0)),
    ]
    widths = (8, 16, 8, 8, 16, 8, 8, 8, 16, 4, 4, 0)
    b[node].size = sum(widths)
    for number, ((name, type_id), width) in enumerate(zip(members, widths, strict=True)):
        b[node].words += (b.string(name), type_id, 8 * sum(widths[:number]))
        b[node].vlen += width >= 0
    b.add_decl_tag("kptr", node)
    b.add_decl_tag("user", node, 1, attribute=True)
    proto = b.add_func_proto(int_, [("ctx", b.add_restrict(pointer)), ("", 0)])
    b.add_func("handler", proto)
    b.add_func("helper", proto, FuncLinkage.STATIC)
    kfunc = b.add_func("kfunc", proto, FuncLinkage.EXTERN)
    counter = b.add_var("counter", u32)
    head = b.add_var("head", node, VarLinkage.STATIC)
    extern = b.add_var("CONFIG_HZ", u32, VarLinkage.GLOBAL_EXTERN)
    b.add_datasec(".data", 128, [(counter, 0, 4), (head, 8, sum(widths))])
    b.add_datasec(".ksyms", 0, [(kfunc, 0, 0), (extern, 0, 4)])
    return b


def module() -> BtfBuilder:
    """Split BTF on top of `everything`: strings and types of the base, and of its own."""
    base = everything()
    b = BtfBuilder(base)
    u32 = 2
    pair = b.add_struct("pair", 8, [("name", u32, 0), ("second", u32, 32)])
    b.add_ptr(pair)
    b.add_func("module_kfunc", b.add_func_proto(u32, [("ctx", pair)]))
    b.add_typedef("flags", u32)
    return b


def newer() -> BtfBuilder:
    """Every kind, and two that nobody knows, before and between others."""
    btf = everything()
    btf.add(NEWER, "newer", vlen=3, size=9, kind_flag=True, words=range(2 + 3 * 4))
    number = btf.add_int("last", 4)
    btf.add(NEWEST, vlen=(1 << 24) - 1, size=number)
    btf.add_ptr(number)
    btf.layout = NEWER_LAYOUT
    return btf


@st.composite
def _damage(draw: DrawFn, raw: bytes) -> bytes:
    """`raw` with some bytes after the header changed, or cut."""
    data = bytearray(raw)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(HEADER_SIZE, len(data) - 1))
        data[at] = draw(st.integers(0, 255))
    if draw(st.integers(0, 9)) == 0:
        del data[draw(st.integers(0, len(data) - 1)) :]
    return bytes(data)


def damaged() -> SearchStrategy[bytes]:
    """Damaged copies of these in either byte order; most still pass for BTF."""
    whole = [made.bytes(order) for made in (everything(), newer()) for order in ORDERS]
    return st.sampled_from(whole).flatmap(_damage)
