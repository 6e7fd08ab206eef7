"""Random C types, and values written to them in C and in Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

# C's type, its width in bits, and whether it is signed. (An array of `char` is text.)
INTS = {
    "signed char": (8, True),
    "unsigned char": (8, False),
    "short": (16, True),
    "unsigned short": (16, False),
    "int": (32, True),
    "unsigned int": (32, False),
    "long long": (64, True),
    "unsigned long": (64, False),
    "__int128": (128, True),
    "unsigned __int128": (128, False),
    "void *": (64, False),
}
# Types of bit-fields that gcc, clang and BTF see alike.
BIT_TYPES = ("signed char", "unsigned short", "int", "unsigned int", "long long", "unsigned long")
ENUMS = {"enum few": (0, 1, 77), "enum signs": (-1, 0, 5), "enum far": (0, 1 << 40)}
ENUM_TEXT = """
enum few { FEW_A, FEW_B, FEW_C = 77 };
enum signs { SIGN_A = -1, SIGN_B, SIGN_C = 5 };
enum far { FAR_A, FAR_B = 1ULL << 40 };
"""


class Leaf(NamedTuple):
    """What is assigned at once: a scalar of `type`, or `width` bits or chars of it."""

    kind: str  # int, bits, enum, bool, float, text
    type: str
    width: int = 0


class ArrayOf(NamedTuple):
    element: Any
    length: int


class Group(NamedTuple):
    """A struct or union without a tag; members are (name or "", shape)."""

    kind: str
    packed: bool
    members: tuple[tuple[str, Any], ...]


Shape: TypeAlias = "Leaf | ArrayOf | Group"

_SCALARS = st.one_of(
    st.sampled_from([*INTS]).map(lambda name: Leaf("int", name)),
    st.sampled_from([*ENUMS]).map(lambda name: Leaf("enum", name)),
    st.sampled_from(["float", "double"]).map(lambda name: Leaf("float", name)),
    st.just(Leaf("bool", "_Bool")),
    st.integers(1, 20).map(lambda width: Leaf("text", "char", width)),
)
_BITS = st.one_of(
    st.sampled_from(BIT_TYPES).flatmap(
        lambda name: st.integers(1, INTS[name][0]).map(lambda width: Leaf("bits", name, width))
    ),
    st.just(Leaf("bits", "_Bool", 1)),
)


@st.composite
def groups(draw: DrawFn, depth: int = 3) -> Group:
    """A struct or union; names of members are unique in it and in all that is around."""
    kind = draw(st.sampled_from(["struct", "struct", "struct", "union"]))
    choices = [_SCALARS, _SCALARS, _BITS, _SCALARS.map(lambda leaf: ArrayOf(leaf, 2))]
    if depth:
        inner = groups(depth - 1)
        choices += [inner, st.builds(ArrayOf, inner | _SCALARS, st.integers(0, 3))]
    shapes = draw(st.lists(st.one_of(choices), min_size=1, max_size=6))
    members = []
    for number, shape in enumerate(shapes):
        is_anonymous = isinstance(shape, Group) and draw(st.booleans())
        members.append(("" if is_anonymous else f"m{depth}{number}_{draw(_SUFFIX)}", shape))
    return Group(kind, draw(st.integers(0, 3)) == 0, tuple(members))


# Makes names unique: anonymous structs lift theirs into the struct around.
_SUFFIX = st.uuids().map(lambda uuid: uuid.hex[:8])


def declare(shape: Shape, name: str) -> str:
    """C's declaration."""
    match shape:
        case Leaf(kind="bits"):
            return f"{shape.type} {name} : {shape.width}"
        case Leaf(kind="text"):
            return f"char {name}[{shape.width}]"
        case Leaf():
            return f"{shape.type} {name}"
        case ArrayOf():
            return declare(shape.element, f"{name}[{shape.length}]")
        case Group():
            return f"{body(shape)} {name}"


def body(group: Group, tag: str = "") -> str:
    """C's ``struct tag {...}``."""
    members = "".join(f" {declare(shape, name)};" for name, shape in group.members)
    packed = " __attribute__((packed))" if group.packed else ""
    return f"{group.kind} {tag} {{{members} }}{packed}"


Path: TypeAlias = "tuple[str | int, ...]"


def leaves(shape: Shape, path: Path = ()) -> Iterator[tuple[Path, Leaf]]:
    """All that can be assigned side by side: of unions the first member only."""
    match shape:
        case Leaf():
            yield path, shape
        case ArrayOf():
            for index in range(shape.length):
                yield from leaves(shape.element, (*path, index))
        case Group():
            members = shape.members if shape.kind == "struct" else shape.members[:1]
            for name, member in members:
                yield from leaves(member, (*path, name) if name else path)


def has_union(shape: Shape) -> bool:
    """Whether there is a union in it, or it is one."""
    match shape:
        case ArrayOf():
            return has_union(shape.element)
        case Group():
            return shape.kind == "union" or any(has_union(inner) for _, inner in shape.members)
    return False


def value_of(leaf: Leaf) -> st.SearchStrategy[Any]:
    """Values that a leaf may have."""
    match leaf.kind:
        case "enum":
            return st.sampled_from(ENUMS[leaf.type])
        case "float":
            return st.integers(-1000, 1000).map(lambda number: number / 8)
        case "text":
            return st.binary(max_size=leaf.width).map(lambda data: data.partition(b"\0")[0])
    if leaf.type == "_Bool":
        return st.booleans()
    bits, signed = INTS[leaf.type]
    bits = leaf.width or bits
    low = -(1 << bits - 1) if signed else 0
    return st.integers(low, low + (1 << bits) - 1)


def assignment(target: str, path: Path, leaf: Leaf, value: Any) -> str:
    """C's statement that assigns a value."""
    steps = (f".{step}" if isinstance(step, str) else f"[{step}]" for step in path)
    place = target + "".join(steps)
    if leaf.kind == "text":
        listed = ", ".join(str(byte) for byte in value) or "0"
        return f"memcpy({place}, (unsigned char[]){{{listed}}}, {len(value)});"
    if leaf.kind == "float":
        return f"{place} = {value!r};"
    number = int(value) & ((1 << 128) - 1)
    high, low = divmod(number, 1 << 64)
    cast = "" if leaf.kind == "bits" else f"({leaf.type})"
    if leaf.type.endswith("__int128"):
        return f"{place} = {cast}((unsigned __int128){high}ULL << 64 | {low}ULL);"
    return f"{place} = {cast}{low}ULL;"
