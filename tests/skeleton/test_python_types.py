"""The classes that are written for BTF, compared with compilers, the kernel, and our decoder."""

from __future__ import annotations

import keyword
import math
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from ctypes import sizeof
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import lskel
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.types import IntEncoding, TypeId, VarLinkage
from lskel.elf.object import Elf
from lskel.errors import BadObject
from lskel.object.model import MapKind
from lskel.runtime import values
from lskel.runtime.one_element import lookup, update
from lskel.skeleton import types
from lskel.skeleton.classes import TypeClasses
from lskel.skeleton.python_source import identifier
from lskel.skeleton.python_types import TAKEN, TypeWriter
from lskel.skeleton.source import source
from lskel.skeleton.types import ClassOf, StructClass, TypeDeclarations
from tests import corpus
from tests.btf.decoder import Decoder, EnumValue
from tests.btf.samples import everything
from tests.build.btf import BtfBuilder
from tests.build.clang import compile_bpf
from tests.conftest import Run
from tests.runtime.programs import run_program
from tests.skeleton import shapes

_KEY = bytes(4)
# Each example is a compiler's run, or two: what fails is not made smaller.
_FEW = settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
_DATA = (MapKind.DATA, MapKind.RODATA, MapKind.BSS, MapKind.KCONFIG)


def btf_of(source: str) -> Btf:
    """The BTF that clang writes for C."""
    elf = Elf(compile_bpf(source, "-nohead"))
    section = elf.section(".BTF")
    assert section is not None
    return Btf(elf.content(section))


class Written:
    """Types that are declared, and written."""

    def __init__(self, btf: Btf, taken: Iterable[str] = ()) -> None:
        self.types = TypeDeclarations(btf, {*TAKEN, *taken})
        self._writer = TypeWriter(self.types.names)

    def type_expression(self, type_id: TypeId) -> str:
        return self._writer.expression(self.types.type(type_id))

    def annotation(self, type_id: TypeId) -> str:
        return self._writer.annotation(self.types.type(type_id))

    def section(self, name: str, size: int, class_name: str) -> str:
        return self.types.section(name, size, class_name).cls

    def source(self) -> Sequence[str]:
        return self._writer.definitions(self.types)

    def imports(self) -> Sequence[str]:
        self.source()
        return self._writer.imports()


def text_of(writer: Written, extra: str = "") -> str:
    """A module of all that was written."""
    names = "".join(f"    {name},\n" for name in writer.imports())
    head = "from __future__ import annotations\n\nfrom enum import IntEnum\n\n"
    imports = f"from lskel.runtime.values import (\n{names})\n\n\n" if names else ""
    return head + imports + "\n\n".join(writer.source()) + extra


def made_by(writer: Written) -> dict[str, Any]:
    """The classes, by name; those that are made without text are the same."""
    namespace: dict[str, Any] = {}
    exec(text_of(writer), namespace)
    classes = TypeClasses(writer.types)
    for made in writer.types.classes:
        cls, live = namespace[made.name], classes.value(ClassOf(made.name))
        if isinstance(made, StructClass):
            assert sizeof(live) == sizeof(cls) == made.size
            assert layout_of(live) == layout_of(cls)
        else:
            assert [*live.__members__.items()] == [*cls.__members__.items()]
    return namespace


def layout_of(cls: Any) -> list[tuple[str, Any]]:
    """Where the members of a class lie, and what they are called."""
    places = ((name, getattr(cls, name)) for name in cls._members_)
    return [
        (name, (f.offset, f.width) if isinstance(f, values.Bits) else (f.offset, f.size))
        for name, f in places
    ]


def ctype_of(btf: Btf, type_id: TypeId) -> Any:
    """The type for `codec`."""
    writer = Written(btf)
    expression = writer.type_expression(type_id)
    return eval(expression, made_by(writer))


def plain(value: Any) -> Any:
    """A value of ours or of the decoder as both can be compared."""
    if isinstance(value, values.Struct | values.Union):
        value = value.asdict()
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | values.Array):
        return [plain(part) for part in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, EnumValue):
        return value.value
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def assign(value: Any, path: shapes.Path, what: Any) -> None:
    *steps, last = path
    for step in steps:
        value = getattr(value, step) if isinstance(step, str) else value[step]
    if isinstance(last, str):
        setattr(value, last, what)
    else:
        value[last] = what


def read(value: Any, path: shapes.Path) -> Any:
    for step in path:
        value = getattr(value, step) if isinstance(step, str) else value[step]
    return value


@st.composite
def _programs(draw: st.DrawFn) -> list[tuple[shapes.Group, list[tuple[Any, ...]]]]:
    """TypeDeclarations, and values for what is in them: (path, leaf, value)."""
    found = []
    for group in draw(st.lists(shapes.groups(), min_size=8, max_size=16)):
        rows = [(*place, draw(shapes.value_of(place[1]))) for place in shapes.leaves(group)]
        found.append((group, rows))
    return found


_MAIN = """
#include <stdio.h>
#include <string.h>
{types}
int main(void)
{{
{statements}
	return 0;
}}
"""


@given(_programs())
@_FEW
def test_the_same_bytes_as_c(
    tmp_path_factory: pytest.TempPathFactory,
    programs: list[tuple[shapes.Group, list[tuple[Any, ...]]]],
) -> None:
    types = [f"{shapes.body(group, f't{n}')};" for n, (group, _) in enumerate(programs)]
    declared = shapes.ENUM_TEXT + "\n".join(types)
    statements = []
    for number, (group, rows) in enumerate(programs):
        tag = f"{group.kind} t{number}"
        statements += [f"{{ static {tag} v; memset(&v, 0, sizeof(v));"]
        statements += [shapes.assignment("v", *row) for row in rows]
        statements += ["fwrite(&v, 1, sizeof(v), stdout); }"]
    room = tmp_path_factory.mktemp("c")
    main = room / "main.c"
    main.write_text(_MAIN.format(types=declared, statements="\n".join(statements)))
    subprocess.run(["gcc", "-w", "-o", room / "main", main], check=True)
    output = subprocess.run([room / "main"], capture_output=True, check=True).stdout

    variables = (f"{group.kind} t{n} v{n};" for n, (group, _) in enumerate(programs))
    btf = btf_of(declared + "\n".join(variables))
    writer = Written(btf)
    for number, (group, rows) in enumerate(programs):
        kind: Any = t.StructType if group.kind == "struct" else t.UnionType
        type_id = btf.require(f"t{number}", kind)
        name = writer.type_expression(type_id)
        cls = made_by(writer)[name]
        value = cls()
        for path, _, what in rows:
            assign(value, path, what)
        size = btf.size_of(type_id)
        mine, output = output[:size], output[size:]
        assert bytes(value) == mine, types[number]
        assert [read(value, path) for path, *_ in rows] == [what for *_, what in rows]
        assert plain(cls.from_buffer_copy(mine)) == plain(Decoder(btf, type_id)(mine))
        # Members of a union overwrite each other: the last one may have no room for the first.
        if not shapes.has_union(group):
            assert cls(**value.asdict()) == value
    assert not output


@given(st.data(), st.lists(shapes.groups(), min_size=8, max_size=16))
@_FEW
def test_random_bytes_as_the_decoder_has_them(data: st.DataObject, groups: list[Any]) -> None:
    types = [f"{shapes.body(group, f't{n}')};" for n, group in enumerate(groups)]
    variables = [f"{group.kind} t{n} v{n};" for n, group in enumerate(groups)]
    btf = btf_of(shapes.ENUM_TEXT + "\n".join(types + variables))
    for number, group in enumerate(groups):
        kind: Any = t.StructType if group.kind == "struct" else t.UnionType
        type_id = btf.require(f"t{number}", kind)
        size = btf.size_of(type_id)
        memory = data.draw(st.binary(min_size=size, max_size=size))
        codec: values.Codec[Any] = values.codec(ctype_of(btf, type_id))
        assert codec.size == size
        assert plain(codec.decode(memory)) == plain(Decoder(btf, type_id)(memory))


RICH = r"""
enum color { RED, GREEN = 5, BLUE = 77 };
enum far { NEAR, FAR = 1ULL << 40 };
struct point { int x; short y; } __attribute__((packed));
struct rich {
	unsigned char a; signed char b; unsigned short c; short d; unsigned e; int f;
	unsigned long long g; long long h; _Bool i;
	unsigned j:3; int k:7; unsigned long long l:33; _Bool m:1;
	enum color n; enum far o; char comm[11]; struct point p; struct point q[2][2];
	union { unsigned r; unsigned char s[4]; }; union { long long t; void *u; } v;
};
struct rich in, out;
long long flat[32];
SEC("raw_tp/sys_enter") int copy(void *ctx)
{
	volatile struct rich *from = &in, *to = &out;
	int n = 0;
#define FIELD(x) to->x = from->x; flat[n++] = (long long)from->x
	FIELD(a); FIELD(b); FIELD(c); FIELD(d); FIELD(e); FIELD(f); FIELD(g); FIELD(h); FIELD(i);
	FIELD(j); FIELD(k); FIELD(l); FIELD(m); FIELD(n); FIELD(o);
	FIELD(comm[0]); FIELD(comm[10]); FIELD(p.x); FIELD(p.y);
	FIELD(q[0][0].x); FIELD(q[0][1].y); FIELD(q[1][0].x); FIELD(q[1][1].y);
	FIELD(s[1]); FIELD(r); FIELD(v.t); FIELD(v.u);
	return 0;
}
"""


@pytest.mark.kernel
@given(st.data())
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_bpf_sees_what_python_wrote(loaded_rich: Any, data: st.DataObject) -> None:
    section, copy = loaded_rich
    ints = st.integers
    words = {
        "a": ints(0, 255),
        "b": ints(-128, 127),
        "c": ints(0, 65535),
        "d": ints(-32768, 32767),
        "e": ints(0, (1 << 32) - 1),
        "f": ints(-(1 << 31), (1 << 31) - 1),
        "g": ints(0, (1 << 63) - 1),
        "h": ints(-(1 << 63), (1 << 63) - 1),
        "i": st.booleans(),
        "j": ints(0, 7),
        "k": ints(-64, 63),
        "l": ints(0, (1 << 33) - 1),
        "m": st.booleans(),
        "n": st.sampled_from([0, 5, 77]),
        "o": st.sampled_from([0, 1 << 40]),
    }
    point = st.tuples(ints(-(1 << 31), (1 << 31) - 1), ints(-32768, 32767))
    grid = data.draw(st.lists(st.lists(point, min_size=2, max_size=2), min_size=2, max_size=2))
    comm = data.draw(st.binary(min_size=11, max_size=11).map(lambda raw: raw.replace(b"\0", b"-")))
    number, address = data.draw(ints(0, (1 << 32) - 1)), data.draw(ints(0, (1 << 63) - 1))
    scalars = {name: data.draw(strategy) for name, strategy in words.items()}

    memory = section()
    memory["in_"] = scalars | {"comm": comm, "p": (-5, 6), "q": grid, "r": number}
    memory["in_"].v.u = address
    made = memory.run(copy)

    def signed(byte: int) -> int:
        return (byte ^ 128) - 128

    wanted = [int(scalars[name]) for name in words]
    wanted += [signed(comm[0]), signed(comm[10]), -5, 6]
    wanted += [grid[0][0][0], grid[0][1][1], grid[1][0][0], grid[1][1][1]]
    wanted += [number.to_bytes(4, sys.byteorder)[1], number, address, address]
    assert made.flat[: len(wanted)] == wanted
    assert {name: getattr(made.out, name) for name in words} == scalars
    assert (made.out.p, made.out.r, made.out.v.u) == (made.in_.p, number, address)
    assert (made.in_.comm, [[(p.x, p.y) for p in row] for row in made.in_.q]) == (comm, grid)


class _Section:
    """The section's variables, written to the kernel's map and read back around a run."""

    def __init__(self, cls: Any, fd: int) -> None:
        self._value = cls()
        self._codec: values.Codec[Any] = values.codec(cls)
        self._fd = fd

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self._value, name, value)

    def __getitem__(self, name: str) -> Any:
        return getattr(self._value, name)

    def run(self, program: Any) -> Any:
        update(self._fd, _KEY, self._codec.encode(self._value))
        run_program(program)
        memory = lookup(self._fd, _KEY, self._codec.size)
        assert memory is not None
        return self._codec.decode(memory)


@pytest.fixture
def loaded_rich() -> Any:
    """What makes sections of the loaded object, and its program."""
    obj = lskel.open_object(compile_bpf(RICH.replace(" in,", " in_,").replace("&in,", "&in_,")))
    assert obj.btf is not None
    data = next(m for m in obj.maps if m.kind is MapKind.BSS)
    writer = Written(obj.btf)
    name = writer.section(".bss", data.value_size, "Bss")
    cls = made_by(writer)[name]
    with lskel.load(obj).load() as bpf:
        fd = bpf.maps[data.name].fileno()
        yield lambda: _Section(cls, fd), bpf.progs["copy"]


def test_everything_that_btf_has() -> None:
    btf = Btf(everything().bytes(sys.byteorder))
    node = btf.require("node", t.StructType)
    cls = ctype_of(btf, node)
    data = bytes(range(1, btf.size_of(node) + 1))
    assert plain(values.codec(cls).decode(data)) == plain(Decoder(btf, node)(data))


NAMES = r"""
struct point { int x; };
typedef struct { int y; } named_t;
enum color { None, RED, __SECRET, mro, name };
typedef enum { ONE = 1 } count_t;
struct Struct { int from; int asdict; int _fields_; int from_buffer; int __secret; };
struct outer {
	struct point point; int bytes; char comm[4]; named_t named; enum color color; count_t count;
	struct { int a; } inner; union { int b; float c; }; enum { DEEP } deep; int match;
	int numbers[2]; struct point points[2]; _Bool flag;
};
struct outer outer; struct Struct Struct; static volatile int hidden; const volatile int int_ = 1;
int lambda = 3;
"""


def test_names_and_annotations() -> None:
    source = NAMES + 'SEC("socket") int use(void *ctx) { return hidden++; }'
    btf = lskel.open_object(compile_bpf(source)).btf
    assert btf is not None
    writer = Written(btf, taken=["point"])
    assert writer.section(".data", 4, "outer") == "outer"
    assert writer.section(".bss", 4096, "Bss") == "Bss"
    assert writer.section(".nothing", 8, "Bss") == "Bss_2"
    assert writer.annotation(btf.require("outer", t.StructType)) == "outer_2"
    assert writer.type_expression(btf.require("outer", t.StructType)) == "outer_2"
    made = made_by(writer)
    assert made["Bss"]._members_.keys() == {"outer", "Struct"}
    assert made["outer"]._members_.keys() == {"lambda_"}
    assert [*made["Struct_2"]._members_] == [
        *("from_", "asdict_", "_fields__", "from_buffer_", "__secret")
    ]
    assert [m.name for m in made["color"]] == ["None_", "RED", "_SECRET", "mro_", "name_"]
    assert made["count_t"].ONE == 1
    outer = made["outer_2"](inner=(1,), b=2, bytes=3, named=(4,), deep=0, comm=b"x")
    assert repr(outer) == (
        "outer_2(point=point_2(x=0), bytes=3, comm=b'x', named=named_t(y=4), color=color.None_, "
        f"count=0, inner=outer_2_inner(a=1), b=2, c={outer.c!r}, deep=outer_2_deep.DEEP, match=0, "
        "numbers=[0, 0], points=[point_2(x=0), point_2(x=0)], flag=False)"
    )
    body = next(text for text in writer.source() if "class outer_2(" in text)
    assert body.partition(":\n")[2].split("\n    ") == [
        *("    point: point_2", "bytes: int", "comm: _bytes", "named: named_t", "color: int"),
        *("count: int", "inner: outer_2_inner", "b: int", "c: float", "deep: int", "match: int"),
        *("numbers: Array[int]", "points: Array[point_2]", "flag: bool\n"),
    ]


def test_taken_names_are_all_that_classes_have() -> None:
    names = {name for cls in (values.Struct, values.Union) for name in (*dir(cls), *dir(type(cls)))}
    for name in names | {"_fields_", "_anonymous_"}:
        assert identifier(name, types._MEMBERS_TAKEN) not in names, name
    labels = {*dir(int), *dir(IntEnum), "name", "value", "mro", *keyword.kwlist}
    namespace = {types._label(name, source("made")): n for n, name in enumerate(sorted(labels))}
    made = IntEnum("made", namespace)  # type: ignore[misc]
    assert len(made) == len(labels)
    assert not labels & namespace.keys()


USES = """

point = Point(1, y=2)
total: int = point.x + sum(point.near)
point.near = [1, 2]
point.corner = (1, 2)
point.corner.x = 3
reveal_type(point.name)
reveal_type(point.near[0])
reveal_type(point.corner)
point.unknown
point.x = "text"
point.corner = 5
"""


def test_type_checkers_know_the_members(run: Run, tmp_path: Path) -> None:
    btf = btf_of(
        "struct Corner { int x, y; };"
        "struct Point { int x, y; int near[2]; char name[8]; struct Corner corner; } point;"
    )
    writer = Written(btf)
    writer.type_expression(btf.require("Point", t.StructType))
    path = tmp_path / "made.py"
    path.write_text(text_of(writer))
    run(sys.executable, "-m", "mypy", "--strict", path)
    path.write_text(text_of(writer, USES))
    command = [sys.executable, "-m", "mypy", "--strict", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.replace("builtins.", "").splitlines()[:-1]
    assert [line.partition(": ")[2].partition("  [")[0] for line in lines] == [
        'note: Revealed type is "bytes"',
        'note: Revealed type is "int"',
        'note: Revealed type is "made.Corner"',
        'error: "Point" has no attribute "unknown"',
        'error: Incompatible types in assignment (expression has type "str", variable has type '
        '"int")',
        'error: Incompatible types in assignment (expression has type "int", variable has type '
        '"Corner | tuple[Any, ...] | dict[str, Any]")',
    ]


def _broken() -> Iterable[tuple[str, Callable[[BtfBuilder], int]]]:
    def overlap(b: BtfBuilder) -> int:
        u32 = b.add_int("unsigned int", 4)
        return b.add_struct("bad", 8, [("a", u32, 0), ("b", u32, 16)])

    def behind(b: BtfBuilder) -> int:
        return b.add_struct("bad", 4, [("a", b.add_int("unsigned int", 4), 16)])

    def late(b: BtfBuilder) -> int:
        return b.add_union("bad", 8, [("a", b.add_int("unsigned int", 4), 32)])

    def itself(b: BtfBuilder) -> int:
        return b.add_struct("bad", 4, [("a", 1, 0)])

    def odd(b: BtfBuilder) -> int:
        return b.add_int("odd", 3)

    return (
        ("cannot be at bit 16", overlap),
        ("cannot be at bit 16", behind),
        ("cannot be at bit 32", late),
        ("contains itself", itself),
        ("INT 'odd' .* has no values", odd),
        ("FUNC_PROTO .* has no values", lambda b: b.add_func_proto(0, [])),
    )


@pytest.mark.parametrize(
    ("text", "make"), _broken(), ids=lambda case: getattr(case, "__name__", "")
)
def test_what_has_no_values(text: str, make: Callable[[BtfBuilder], int]) -> None:
    builder = BtfBuilder()
    type_id = TypeId(make(builder))
    with pytest.raises(BadObject, match=text):
        Written(Btf(builder.bytes(sys.byteorder))).type_expression(type_id)


def test_extern_variables_are_members_and_static_ones_are_not() -> None:
    builder = BtfBuilder()
    u32 = builder.add_int("unsigned int", 4, IntEncoding.UNSIGNED)
    static = builder.add_var("static", u32, VarLinkage.STATIC)
    extern = builder.add_var("CONFIG_HZ", u32, VarLinkage.GLOBAL_EXTERN)
    builder.add_datasec(".kconfig", 8, [(static, 0, 4), (extern, 4, 4)])
    writer = Written(Btf(builder.bytes(sys.byteorder)))
    writer.section(".kconfig", 8, "Kconfig")
    kconfig = made_by(writer)["Kconfig"].from_buffer_copy(b"\1\0\0\0" + b"\1" * 4)
    assert kconfig.asdict() == {"CONFIG_HZ": 0x01010101}


@pytest.mark.corpus
@pytest.mark.usefixtures("corpus_tools")
def test_all_types_of_the_selftests() -> None:
    checked = 0
    for product in corpus.compilations():
        if not product.ok:
            continue
        try:
            obj = lskel.open_object(product.path)
        except lskel.LskelError:
            continue  # tests/selftests says which and why
        if obj.btf is None:
            continue
        writer = Written(obj.btf)
        sizes: dict[str, int] = {}
        for made in obj.maps:
            for type_id in filter(None, (made.key_type, made.value_type)):
                if isinstance(obj.btf[type_id], t.Datasec):
                    continue
                sizes[writer.type_expression(type_id)] = obj.btf.size_of(type_id)
                writer.annotation(type_id)
            if made.kind in _DATA:
                name = writer.section(made.section, made.value_size, "Section")
                sizes[name] = made.value_size
        namespace = made_by(writer)
        for expression, size in sizes.items():
            codec: values.Codec[Any] = values.codec(eval(expression, namespace))
            assert codec.size == size, (product.path, expression)
            assert codec.encode(codec.decode(bytes(size))) == bytes(size)
            checked += 1
    assert checked > 600
