"""C text: by example, and by what compilers make of it.

The strongest of these tests print types, compile the text with clang for BPF, and read the BTF
that clang writes: it must say the same about the same types, to the bit.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given, settings

from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.c import type_name
from lskel.btf.kinds import Kind
from lskel.btf.order import Need, in_order
from lskel.btf.types import IntEncoding, TypeId, VarLinkage
from lskel.cursor import ByteOrder
from lskel.elf.object import Elf
from lskel.errors import BadObject, LimitExceeded, LskelError, UsageError
from lskel.skeleton.c_definitions import CTypes
from tests.btf.samples import LIMIT_MS, ORDERS, damaged, everything
from tests.build.btf import BtfBuilder, Field
from tests.conftest import Run, lacking

VMLINUX = Path("/sys/kernel/btf/vmlinux")
TARGETS: dict[ByteOrder, str] = {"little": "bpfel", "big": "bpfeb"}
_KEYWORDS = {Kind.STRUCT: "struct", Kind.UNION: "union", Kind.ENUM: "enum", Kind.ENUM64: "enum"}
_BATCH = 400
_WARNINGS = ("-Wall", "-Wextra", "-Werror")


def definition(btf: Btf, type_id: TypeId) -> str:
    return CTypes(btf).define(type_id)


def declaration(btf: Btf, type_id: TypeId, name: str) -> str:
    return CTypes(btf).declaration(type_id, name)


def definitions(btf: Btf, roots: Iterable[TypeId]) -> Iterator[str]:
    """All named types that the roots need; what is only pointed to is declared, not defined."""
    for need in in_order(btf, roots):
        yield (
            definition(btf, need.type_id)
            if need.complete
            else (f"{declaration(btf, need.type_id, '')};")
        )


def _full_name(btf: Btf, type_id: TypeId) -> str:
    return f"{_KEYWORDS[btf[type_id].kind]} {btf[type_id].name}"


def _compile(run: Run, path: Path, text: str, *options: str) -> Btf:
    """The BTF that clang writes when it compiles `text`."""
    source = path / "text.c"
    source.write_text(text)
    run("clang-19", "-O2", "-g", *_WARNINGS, *options, "-c", source, "-o", path / "text.o")
    elf = Elf((path / "text.o").read_bytes())
    section = elf.section(".BTF")
    assert section is not None
    return Btf(elf.content(section))


def _words(name: str) -> str:
    """Integer types under one name: compilers put the words in different orders."""

    def sort(match: re.Match[str]) -> str:
        words = sorted(match[0].split())
        return " ".join(w for w in words if w not in ("int", "signed")) or "int"

    number = r"(?:unsigned|signed|long|short|int|char|__int128)"
    name = re.sub(rf"\b{number}(?: {number})*\b", sort, name)
    return name.replace("volatile const", "const volatile")


def _shape(btf: Btf, type_id: TypeId) -> Any:
    """All that a type says, down to the named types that it mentions."""
    found = btf[type_id]
    match found:
        case t.CompositeType():
            members = tuple(
                (m.name, m.bit_offset, m.bitfield_size, _mention(btf, m.type))
                for m in found.members
                if not m.name.startswith("__pad")
            )
            return found.kind, found.name, found.size, members
        case t.Enum():
            return "enum", found.name, found.size, found.values
        case t.Typedef():
            return found.kind, found.name, _mention(btf, found.type)
        case _:
            return found.kind, found.name


def _mention(btf: Btf, type_id: TypeId) -> Any:
    name, found = _words(type_name(btf, type_id)), btf[type_id]
    while isinstance(found, t.ArrayType | t.Ptr | t.Const | t.Volatile):
        type_id, found = found.type, btf[found.type]
    nameless = isinstance(found, t.CompositeType | t.Enum) and not found.name
    return (name, _shape(btf, type_id)) if nameless else name


def _check_by_reading(run: Run, path: Path, btf: Btf, roots: list[TypeId]) -> None:
    """Print the types, compile the text, and compare the BTF that comes out with `btf`."""
    lines = definitions(btf, roots)
    variables = (f"{_full_name(btf, root)} v{root};" for root in roots)
    options = ("-target", TARGETS[btf.order])
    again = _compile(run, path, "\n".join((*lines, *variables)), *options)

    by_name: dict[tuple[str, str], TypeId] = {}
    for type_id, found in again:
        by_name.setdefault((found.kind.name.removesuffix("64"), found.name), type_id)
    differences, wanted = [], set(roots)
    for need in in_order(btf, roots):
        found = btf[need.type_id]
        printed = by_name.get((found.kind.name.removesuffix("64"), found.name))
        # clang writes neither what is mentioned nowhere nor, behind pointers, all that is.
        if need.complete and (printed is not None or need.type_id in wanted):
            before = _shape(btf, need.type_id)
            after = None if printed is None else _shape(again, printed)
            if before != after:
                differences.append((before, after))
    assert not differences


def _check_by_assertions(run: Run, path: Path, btf: Btf, roots: list[TypeId]) -> None:
    """Let gcc check sizes, and the offsets of what has an address."""
    text = list(definitions(btf, roots))
    for root in roots:
        name, found = _full_name(btf, root), btf[root]
        claims = [f"sizeof({name}) == {btf.size_of(root)}"]
        if isinstance(found, t.CompositeType):
            claims += [
                f"__builtin_offsetof({name}, {member.name}) == {member.bit_offset // 8}"
                for member in found.members
                if member.name and not member.bitfield_size
            ]
        text += [f'_Static_assert({claim}, "{claim}");' for claim in claims]
    source = path / "asserts.c"
    source.write_text("\n".join(text))
    run("gcc", "-m64", "-std=gnu11", *_WARNINGS, "-c", source, "-o", path / "asserts.o")


def _check(run: Run, path: Path, btf: Btf, roots: list[TypeId]) -> None:
    _check_by_reading(run, path, btf, roots)
    if btf.order == "little":
        _check_by_assertions(run, path, btf, roots)


def _named(btf: Btf) -> list[TypeId]:
    """All structs, unions and enums with a name and a body."""
    return [
        type_id
        for type_id, found in btf
        if found.name
        and (isinstance(found, t.CompositeType) or (isinstance(found, t.Enum) and found.values))
    ]


def _without_clashes(btf: Btf, candidates: Iterable[TypeId]) -> Iterator[TypeId]:
    """Leave out what has the name of another type: the kernel is not one unit of translation."""
    taken: dict[tuple[str, str], TypeId] = {}

    def names(need: Need) -> Iterator[tuple[str, str]]:
        found = btf[need.type_id]
        yield ("name" if isinstance(found, t.Typedef) else "tag", found.name)
        if isinstance(found, t.Enum):
            yield from (("name", label) for label, _ in found.values)

    for candidate in candidates:
        owners = {
            name: need.type_id
            for need in in_order(btf, [candidate])
            if need.complete
            for name in names(need)
        }
        free = all(taken.get(name, owner) == owner for name, owner in owners.items())
        if free and ("name", "__builtin_va_list") not in owners:
            taken |= owners
            yield candidate


def test_all_types_of_the_kernel(run: Run, tmp_path: Path) -> None:
    if not VMLINUX.exists():
        lacking(f"there is no {VMLINUX}")
    btf = Btf(VMLINUX.read_bytes())
    named = _named(btf)
    roots = list(_without_clashes(btf, named))
    assert len(roots) > 0.95 * len(named) > 5000
    _check_by_assertions(run, tmp_path, btf, roots)
    # The time that clang takes to write BTF grows with the square of what there is.
    odd = [root for root in roots if re.search(r" : |__pad|packed", definition(btf, root))]
    some = sorted({*odd, *roots[::20]})
    for start in range(0, len(some), _BATCH):
        _check_by_reading(run, tmp_path, btf, some[start : start + _BATCH])


_ODD = """
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32;
typedef unsigned long long u64;
#define PACKED __attribute__((packed))
#define ALIGNED(n) __attribute__((aligned(n)))
enum small { S0, S1 } PACKED;
enum minus { M = -5, N = 5 };
enum wide { W0, W1 = 0x123456789 };
enum lowest { L = -0x7fffffffffffffffLL - 1 };
enum full { FL = -0x7fffffffffffffffLL - 1, FH = 0x7fffffffffffffffLL };
enum mixed { X0 = -1, X1 = 0x80000000 };
enum roomy { R0, R1 = 5 } __attribute__((mode(DI)));
enum short_ { H0, H1 = 5 } __attribute__((mode(HI)));
enum byte { Y0, Y1 = 255 } PACKED;
enum top { T0, T1 = 0xffffffff };
struct empty {};
struct plain { u8 a; u16 b; u32 c; u64 d; };
struct packed { u8 a; u16 b; u32 c; u64 d; } PACKED;
struct packed2 { u32 a; u64 b; } PACKED ALIGNED(4);
struct holds_packed { u8 a; struct packed p; struct packed2 q; u64 z; };
struct aligned { u8 a; u32 b ALIGNED(64); u8 c; } ALIGNED(128);
struct holds_aligned { u8 a; struct aligned b; u8 c; };
typedef u64 ALIGNED(4) compat_u64;
struct compat { u32 a; compat_u64 b; u32 c; };
struct bits { u32 a : 3, b : 7; int c : 22, d : 1; u8 e : 4; u64 f : 40; _Bool g : 1; u16 h : 9; };
struct bits_gap { u32 a : 3, : 6, b : 7; u8 c; u32 : 0; u32 d : 1; u64 : 13; u64 e : 2; };
struct bits_packed { u8 a; u32 b : 20, c : 20; u64 d : 60; u8 e; } PACKED;
struct bits_enum { enum minus a : 4; enum small b : 2; enum top c; enum wide d : 40; };
struct bits_last { u64 a; u8 b : 1; };
struct bits_only { int : 5; int a : 2; };
union u { u8 a[5]; u32 b; struct { u16 c, d; }; u32 e : 9; };
union upacked { u8 a[5]; u32 b; } PACKED;
union ualigned { u8 a; } ALIGNED(32);
struct nested {
	struct { int x; union { u8 y; struct { u16 z, w; } inner[2]; }; };
	struct { u8 p; u32 q; } PACKED pq[3];
	struct { struct { u8 deep; } ALIGNED(16); } anon;
	enum { LOCAL_A, LOCAL_B } local;
	struct { int i; } *pointer;
};
struct flexible { u32 n; u64 items[]; };
struct flex_inside { struct flexible head; u64 more; };
struct zero { u32 n; u8 none[0]; u32 after; };
struct broad { u8 a; __int128 b; unsigned __int128 c; double d; float e; };
struct later;
typedef struct later later_t;
typedef int (*compare_t)(const void *, const void *);
typedef int matrix_t[2][3];
typedef struct { compare_t by; later_t *const *volatile chain; } sorter_t;
struct later {
	later_t *self; sorter_t by; matrix_t m; const matrix_t *const cm; volatile u32 v;
	int (*(*table[4])(int, later_t *))(void); void (*log)(const char *, ...);
	int (*rows)[3]; const char *const names[2]; char *restrict r;
};
"""


@pytest.mark.parametrize("order", ORDERS)
def test_odd_layouts(run: Run, tmp_path: Path, order: ByteOrder) -> None:
    tags = re.findall(r"^(struct|union|enum) (\w+) {", _ODD, re.MULTILINE)
    variables = "".join(f"{kind} {name} v_{name};\n" for kind, name in tags)
    options = ("-target", TARGETS[order], "-w")
    btf = _compile(run, tmp_path, _ODD + variables, *options)
    roots = _named(btf)
    assert {btf[root].name for root in roots} == {name for _, name in tags}
    _check(run, tmp_path, btf, roots)


def _random_struct(rng: random.Random, number: int) -> str:
    scalars = ["unsigned char", "short", "unsigned int", "int", "unsigned long long", "_Bool"]
    bits = {"unsigned char": 8, "short": 16, "unsigned int": 32, "int": 32, "_Bool": 1}
    lines = []
    for member in range(rng.randint(1, 12)):
        kind = rng.choice(scalars)
        if number and rng.random() < 0.2:
            kind = f"struct s{rng.randrange(number)}"
        name, suffix = f"m{member}", ""
        if kind.startswith("struct") or rng.random() < 0.4:
            suffix = f"[{rng.randint(0, 5)}]" if rng.random() < 0.3 else ""
            if rng.random() < 0.1:
                suffix += f" __attribute__((aligned({2 ** rng.randint(0, 6)})))"
        else:
            width = rng.randint(0, bits.get(kind, 64))
            name = name if width and rng.random() < 0.85 else ""
            suffix = f" : {width}"
        lines.append(f"{kind} {name}{suffix};")
    attribute = rng.choice(
        ["", "", "", " __attribute__((packed))", " __attribute__((aligned(16)))"]
    )
    keyword = "union" if rng.random() < 0.1 else "struct"
    body = " ".join(lines)
    if keyword == "union":
        return f"struct s{number} {{ union {{ {body} }}{attribute}; unsigned char last; }};"
    return f"struct s{number} {{ {body} }}{attribute};"


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("seed", range(4))
def test_random_layouts(run: Run, tmp_path: Path, order: ByteOrder, seed: int) -> None:
    rng = random.Random(seed)
    count = 300
    text = "\n".join(_random_struct(rng, number) for number in range(count))
    variables = "".join(f"struct s{number} v{number};\n" for number in range(count))
    options = ("-target", TARGETS[order], "-w")
    btf = _compile(run, tmp_path, f"{text}\n{variables}", *options)
    roots = _named(btf)
    assert len(roots) == count
    _check(run, tmp_path, btf, roots)


def test_definitions_by_example() -> None:
    b = BtfBuilder()
    int_ = b.add_int("int", 4, IntEncoding.SIGNED)
    char = b.add_int("char", 1)
    color = b.add_enum("color", [("RED", -1), ("BLUE", 7)], signed=True)
    inner = b.add_union("", 8, [("x", int_, 0), ("text", b.add_array(char, 5), 0)])
    following = b.add_ptr(inner + 2)
    members: list[Field] = [("pid", int_, 0), ("a", int_, 37, 3), ("", inner, 64)]
    members += [("color", color, 128), ("next", following, 192)]
    event = b.add_struct("event", 32, members)
    alias = b.add_typedef("alias", b.add_struct("", 4, [("x", int_, 0)]))
    proto = b.add_func_proto(int_, [("event", b.add_ptr(event))])
    handler = b.add_typedef("handler_t", b.add_ptr(proto))
    wide = b.add_enum64("wide", [("MIN", -(1 << 63)), ("MAX", (1 << 63) - 1)], signed=True)
    old = b.add_enum("old", [("NONE", 0xFFFFFFFF)], size=1)
    cases = {
        event: """
            struct event {
                int pid;
                char : 5;
                int a : 3;
                union {
                    int x;
                    char text[5];
                };
                enum color color;
                struct event *next;
            };
            """,
        color: "enum color {\n\tRED = -1,\n\tBLUE = 7,\n};",
        wide: """
            enum wide {
                MIN = -9223372036854775807LL - 1,
                MAX = 9223372036854775807LL,
            };
            """,
        old: "enum old {\n\tNONE = 255,\n} __attribute__((packed));",
        b.add_enum("later", []): "enum later;",
        alias: "typedef struct {\n\tint x;\n} alias;",
        handler: "typedef int (*handler_t)(struct event *event);",
        b.add_fwd("gone"): "struct gone;",
        b.add_func("handle", proto): "int handle(struct event *event);",
        b.add_var("seen", int_): "int seen;",
        b.add_var("hz", int_, VarLinkage.GLOBAL_EXTERN): "extern int hz;",
    }
    btf = b.btf()
    for type_id, text in cases.items():
        assert definition(btf, type_id) == dedent(text).strip().replace("    ", "\t")
    assert declaration(btf, alias, "value") == "alias value"
    assert declaration(btf, proto, "run") == "int run(struct event *event)"
    assert declaration(btf, inner, "both") == "union {\n\tint x;\n\tchar text[5];\n} both"


def test_definitions_come_in_an_order_that_c_accepts() -> None:
    b = BtfBuilder()
    b.add_int("int", 4, IntEncoding.SIGNED)
    b.add_struct("outer", 16, [("inner", 3, 0), ("other", 5, 64)])
    b.add_typedef("inner_t", 4)
    b.add_struct("inner", 8, [("outer", 7, 0)])
    b.add_ptr(6)
    b.add_struct("other", 4, [("number", 1, 0)])
    b.add_ptr(2)
    b.add_struct("unrelated", 8, [("outer", 7, 0)])
    btf = b.btf()
    texts = [text.partition(" {")[0] for text in definitions(btf, [TypeId(2)])]
    assert texts == [
        "struct outer;",
        "struct inner",
        "typedef struct inner inner_t;",
        "struct other;",
        "struct outer",
    ]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("PTR", "C has no definition of PTR"),
        ("INT", "C has no definition of INT"),
        ("DATASEC", "C has no definition of DATASEC"),
    ],
)
def test_not_everything_has_a_definition(kind: str, message: str) -> None:
    btf = everything().btf()
    type_id = next(type_id for type_id, found in btf if found.kind.name == kind)
    with pytest.raises(UsageError, match=message):
        definition(btf, type_id)


def test_no_variable_can_be_a_section() -> None:
    btf = everything().btf()
    with pytest.raises(UsageError, match=r"C has no type for DATASEC '.data'"):
        declaration(btf, btf.require(".data", t.Datasec), "x")


def _self_by_value(b: BtfBuilder) -> None:
    b.add_struct("a", 4, [("self", 2, 0)])


def _two_by_value(b: BtfBuilder) -> None:
    b.add_struct("a", 4, [("b", 3, 0)])
    b.add_struct("b", 4, [("a", 2, 0)])


def _nameless_cycle(b: BtfBuilder) -> None:
    b.add_struct("a", 8, [("self", 3, 0)])
    b.add_ptr(4)
    b.add_struct("", 8, [("self", 3, 0)])


def _deep(b: BtfBuilder) -> None:
    for number in range(100):
        b.add_struct("a" if number == 0 else "", 4, [("in", 3 + number, 0)])
    b.add_ptr(0)


def _wide(b: BtfBuilder) -> None:
    # Each of 60 nameless types mentions the next one twice.
    for number in range(60):
        following = [("a", 3 + number, 0), ("b", 3 + number, 0)]
        b.add_union("a" if number == 0 else "", 8, following)
    b.add_ptr(0)


def _overlap(b: BtfBuilder) -> None:
    b.add_struct("a", 8, [("x", 1, 0), ("y", 1, 16)])


def _too_small(b: BtfBuilder) -> None:
    b.add_struct("a", 3, [("x", 1, 0)])


def _union_not_at_0(b: BtfBuilder) -> None:
    b.add_union("a", 8, [("x", 1, 32)])


def _wide_bits(b: BtfBuilder) -> None:
    b.add_struct("a", 8, [("x", 1, 0, 33)])


def _pointer_bits(b: BtfBuilder) -> None:
    b.add_struct("a", 8, [("x", 3, 0, 5)])
    b.add_ptr(0)


def _by_value_unknown(b: BtfBuilder) -> None:
    b.add_struct("a", 8, [("x", 3, 0)])
    b.add_fwd("secret")


def _enum_of_3_bytes(b: BtfBuilder) -> None:
    b.add_enum("a", [("A", 1)], size=3)


def _enum_of_2_gigabytes(b: BtfBuilder) -> None:
    b.add_enum64("a", [("A", 1)], size=1 << 31)


def _narrow_enum(b: BtfBuilder) -> None:
    b.add_enum("a", [("A", -129)], size=1, signed=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (_self_by_value, r"type \[2\] contains itself"),
        (_two_by_value, r"type \[2\] contains itself"),
        (_nameless_cycle, r"type \[4\] contains itself"),
        (_deep, r"nested in more than 64 types"),
        (_wide, r"50001 mentions of types, at most 50000 allowed"),
        (_overlap, r"member 'y' of STRUCT 'a' \[2\] cannot be at bit 16"),
        (_too_small, r"member 'x' of STRUCT 'a' \[2\] cannot be at bit 0"),
        (_union_not_at_0, r"member 'x' of UNION 'a' \[2\] cannot be at bit 32"),
        (_wide_bits, r"member 'x' of 33 bits at bit 0 is of INT 'int' \[1\]"),
        (_pointer_bits, r"member 'x' of 5 bits at bit 0 is of PTR"),
        (_by_value_unknown, r"FWD 'secret' \[3\] has no size"),
        (_enum_of_3_bytes, r"enum 'a' \[2\] cannot have 3 bytes"),
        (_enum_of_2_gigabytes, r"enum 'a' \[2\] cannot have 2147483648 bytes"),
        (_narrow_enum, r"enum 'a' \[2\] cannot have 1 bytes"),
    ],
)
def test_wrong_btf(wrong: Callable[[BtfBuilder], None], message: str) -> None:
    b = BtfBuilder()
    b.add_int("int", 4, IntEncoding.SIGNED)
    wrong(b)
    btf = b.btf()
    assert "a" in type_name(btf, TypeId(2))
    with pytest.raises((BadObject, LimitExceeded), match=message):
        definition(btf, TypeId(2))
    with pytest.raises((BadObject, LimitExceeded)):
        list(definitions(btf, [TypeId(2)]))


def test_typedef_of_itself() -> None:
    b = BtfBuilder()
    b.add_typedef("a", 1)
    with pytest.raises(BadObject, match=r"type \[1\] contains itself"):
        list(definitions(b.btf(), [TypeId(1)]))


def test_members_that_c_cannot_reach_are_padding() -> None:
    b = BtfBuilder()
    int_ = b.add_int("int", 4, IntEncoding.SIGNED)
    pair = b.add_struct("pair", 12, [("a", int_, 0), ("", int_, 32), ("b", int_, 64)])
    # A tagged struct as a nameless member (gcc's -fms-extensions) is written out.
    both = b.add_struct("both", 16, [("", pair, 0), ("c", int_, 96)])
    btf = b.btf()
    body = "int a;\n{0}unsigned char __pad1[4];\n{0}int b;"
    assert definition(btf, pair) == f"struct pair {{\n\t{body.format(chr(9))}\n}};"
    inner = "struct {\n\t\t" + body.format("\t\t") + "\n\t};"
    assert definition(btf, both) == f"struct both {{\n\t{inner}\n\tint c;\n}};"


@settings(deadline=LIMIT_MS)
@given(damaged())
def test_damaged_btf_prints(raw: bytes) -> None:
    try:
        btf = Btf(raw)
    except LskelError:
        return
    for type_id in range(len(btf)):
        assert type_name(btf, TypeId(type_id))
        try:
            assert definition(btf, TypeId(type_id))
            assert list(definitions(btf, [TypeId(type_id)])) is not None
        except LskelError as error:
            assert str(error)
