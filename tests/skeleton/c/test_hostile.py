"""C headers of inputs whose every name is made to do harm: other names, and the same text else."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache, partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import lskel
from lskel.bpf.enums import AttachType, MapType, ProgType
from lskel.bpf.kconfig import KconfigType, KconfigVar
from lskel.bpf.struct_ops import Member, StructOps
from lskel.btf.ext import Records
from lskel.btf.types import IntEncoding, VarLinkage
from lskel.catalog.map_types import ARENA_SECTION
from lskel.skeleton.c import generate_c
from lskel.skeleton.c_source import MemberNames, comment, number, string
from lskel.skeleton.source import Scope, word
from lskel.trace import (
    Arena,
    AttachFd,
    BtfLoad,
    Input,
    KconfigResult,
    MapCreate,
    MapResult,
    MapUpdate,
    MemberIndex,
    Op,
    ProgLoad,
    ProgramResult,
    Ref,
    StructOpsResult,
    Trace,
    TypeSize,
)
from tests.build.btf import BtfBuilder, Field
from tests.skeleton.c.headers import STRICT, compiler, problems
from tests.skeleton.hostile import PIECES, WORDS, Naming, in_file, names, naming, object_file, roles

# Examples are not made smaller: each takes a compiler some seconds.
_EACH = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    max_examples=10,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)

# -- a trace of every kind of thing that has a name in a header ------------------------------------

SIZE = 96
_NO_RECORDS = Records(8, b"")


def trace(naming: Naming) -> Trace:
    """All that a C skeleton writes down; `naming` names each thing."""

    def name(role: str) -> str:
        return in_file(naming(role))

    sections = [f".{name('section')}", f".data.{name('other section')}", ".bss"]
    ops: list[Op] = [BtfLoad(_btf(name, [*sections, ARENA_SECTION]), "")]
    maps: list[MapResult] = []
    programs: list[ProgramResult] = []

    def add_map(role: str, kind: int, section: str, size: int | Input = 4) -> int:
        slot = len(maps)
        maps.append(MapResult(name(role), section, len(ops)))
        flags = 1 << 10 if kind in (MapType.ARRAY, MapType.ARENA) else 0
        numbers = (4, size, 1, flags, 0, 0)
        ops.append(MapCreate(name(role), kind, *numbers, None, 0, 0, False, None, None, slot))
        return slot

    def add_program(
        role: str, section: str, kind: int, target: Input | None = None, attach_type: int = 0
    ) -> None:
        slot = len(programs)
        programs.append(ProgramResult(name(role), section, len(ops), autoload=bool(slot % 2)))
        texts = (_NO_RECORDS, _NO_RECORDS, _NO_RECORDS, ())
        head = (name(role), kind, attach_type, 0, name("licence"), bytes(8), None)
        ops.append(ProgLoad(*head, *texts, None, None, target, slot))

    for place, section in enumerate(sections):
        add_map(f"map {place}", MapType.ARRAY, section, SIZE)
        ops.append(MapUpdate(Ref(len(ops) - 1), 0, b"\1\2\0", SIZE, initial=True))
    kconfig = add_map("kconfig", MapType.ARRAY, ".kconfig", SIZE)
    ops.append(MapUpdate(Ref(len(ops) - 1), 0, b"", SIZE, initial=True))
    add_map("hash", MapType.HASH, ".maps", Input(0))
    add_map("perf", MapType.PERF_EVENT_ARRAY, ".maps", Input(1))
    arena = add_map("arena", MapType.ARENA, ".maps")
    table = add_map("ops", MapType.STRUCT_OPS, ".struct_ops")
    add_program("raw", f"raw_tp/{name('tracepoint')}", ProgType.RAW_TRACEPOINT)
    add_program("replacing", f"freplace/{name('replaced')}", ProgType.EXT, Input(2))
    add_program("packets", "xdp", ProgType.XDP)
    many = f"fentry.multi/{name('module')}:{name('functions')}"
    add_program("many", many, ProgType.TRACING, Input(3), AttachType.TRACE_FENTRY_MULTI)
    members = (
        Member(name("flags"), b"'\"\\\n", False, None),
        Member(name("called"), bytes(8), True, name("raw")),
    )
    kinds = (KconfigType.INT, KconfigType.STRING)
    values = [
        KconfigVar(name(f"CONFIG {n}"), kind, 4, True, 4 * n, True) for n, kind in enumerate(kinds)
    ]
    return Trace(
        name=naming("object"),
        order="little",
        ops=tuple(ops),
        maps=tuple(maps),
        programs=tuple(programs),
        inputs=(
            TypeSize(name("sized")),
            MemberIndex(name("table"), name("row")),
            AttachFd(1),
            AttachFd(3),
        ),
        kconfig=KconfigResult(kconfig, SIZE, tuple(values)),
        struct_ops=(StructOpsResult(table, StructOps(name("ops type"), members)),),
        arenas=(Arena(arena, bytes(range(SIZE))),),
    )


def _btf(name: Naming, sections: Iterable[str]) -> bytes:
    b = BtfBuilder()
    # With a sign more, so that none is the name of another type of C.
    u32 = b.add_int(f"{name('u32')}$", 4)
    char = b.add_int("char", 1, IntEncoding.SIGNED)
    color = b.add_enum(name("enum"), [(name(f"label {n}"), n) for n in range(3)])
    unnamed = b.add_enum("", [(name(f"other label {n}"), n) for n in range(3)])
    inner = b.add_union("", 4, [(name("lifted"), u32, 0), (name("lifted 2"), color, 0)])
    pointed = b.add_ptr(b.add_fwd(name("forward")))
    pointed_2 = b.add_ptr(b.add_fwd(name("forward union"), union=True))
    members: list[Field] = [
        (name("first"), u32, 0),
        (name("text"), b.add_array(char, 4), 32),
        (name("pointer"), pointed, 64),
        (name("pointer 2"), pointed_2, 128),
        ("", inner, 192),
        (name("bits"), u32, 224, 3),
    ]
    pair = b.add_struct(name("pair"), 32, members)
    typedef = b.add_typedef(name("typedef"), b.add_struct("", 4, [(name("member"), u32, 0)]))
    proto = b.add_func_proto(u32, [(name("parameter"), pair)])
    for place, section in enumerate(sections):
        parts = (
            ("pair", pair, 32),
            ("typedef", typedef, 4),
            ("unnamed", unnamed, 4),
            ("array", b.add_array(b.add_const(u32), 4), 16),
            ("function", b.add_ptr(proto), 8),
            ("to pair", b.add_ptr(pair), 8),
            ("float", b.add_float(name("float"), 8), 8),
            ("int", b.add_int(f"{name('int')} {name('int 2')}", 8), 8),
        )
        ends = itertools.accumulate(size for _, _, size in parts)
        variables = [
            (b.add_var(name(f"{place} {role}"), type_id), end - size, size)
            for (role, type_id, size), end in zip(parts, ends, strict=True)
        ]
        b.add_datasec(section, SIZE, variables)
    extern = b.add_var(name("CONFIG 0"), u32, VarLinkage.GLOBAL_EXTERN)
    b.add_datasec(".kconfig", SIZE, [(extern, 0, 4)])
    return b.bytes()


ROLES = roles(trace)
TAME = {role: f"n{number}" for number, role in enumerate(ROLES)}


all_names = st.lists(names, min_size=len(ROLES), max_size=len(ROLES)).map(partial(naming, ROLES))


def header(source: lskel.Object | Trace, name: str, *, standalone: bool) -> str:
    loader = lskel.generate(source, "auto" if standalone else "unrolled")
    return generate_c(loader, name, standalone=standalone)


def headers(by_role: dict[str, str]) -> list[str]:
    """Both kinds of header. What begins their names keeps them apart in one text."""
    made = trace(by_role.__getitem__)
    return [
        header(made, f"{kind}_{made.name}", standalone=kind == "standalone")
        for kind in ("plain", "standalone")
    ]


# -- the same tokens -------------------------------------------------------------------------------

_WORDS = """
__attribute__ __typeof__ _Static_assert case char const default do double else enum for if inline
int long return short signed sizeof static struct switch union unsigned void while
"""
_KEYWORDS = frozenset(_WORDS.split())
_TOKEN = re.compile(
    r"""\s+|(\w+)|("(?:[^"\\\n]|\\.)*")|('(?:[^'\\\n]|\\.)')|([!-/:-@[-^{-~])""", re.ASCII
)
# As many as there are different names.
_NOT_MACROS = re.compile(r'^#pragma (?:push|pop)_macro\("\w+"\)$', re.ASCII | re.MULTILINE)


def tokens(text: str) -> Iterator[str]:
    """Words and signs; identifiers all alike, and so are strings."""
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        assert found, f"no token of C: {text[at : at + 80]!r}"
        at = found.end()
        word, string_, character, sign = found.groups()
        if word and not word[0].isdigit() and word not in _KEYWORDS:
            yield "identifier"
        elif string_:
            yield "string"
        elif found.lastindex:
            yield word or character or sign


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty files for what headers include: anything else cannot be included."""
    directory = tmp_path_factory.mktemp("include")
    for text in headers(TAME):
        for path in re.findall(r"#include <([\w/.]+)>", text):
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).touch()
    return directory


def preprocessed(texts: Iterable[str], stubs: Path, *options: str) -> list[str]:
    """The tokens of texts after one another; the preprocessor has nothing to say of them."""
    command = [compiler("c"), "-E", "-P", "-Wall", "-Wextra", "-Werror", "-nostdinc"]
    done = subprocess.run(
        [
            *command,
            "-D__NR_bpf=321",
            "-include",
            "/dev/null",
            *options,
            f"-I{stubs}",
            "-x",
            "c",
            "-",
        ],
        input="\nend_of_header\n".join(texts).encode(),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return [*tokens(_NOT_MACROS.sub("", done.stdout.decode("ascii")))]


def at_top(found: list[str]) -> Iterator[str]:
    """The tokens outside of all braces."""
    depth = 0
    for token in found:
        depth -= token == "}"
        if not depth:
            yield token
        depth += token == "{"


# No header has these: what is in the blob, and types that become others.
UNSEEN = {
    *("licence", "kconfig", "map 0", "map 1", "map 2", "replaced"),
    *("enum", "label 0", "label 1", "label 2", "u32", "float", "int", "int 2", "parameter"),
}


def test_tame_headers_have_it_all() -> None:
    for text in headers(TAME):
        assert "enum {\n\t\t\tn" in text and "#ifdef LSKEL_USER_TYPES\n\t\tstruct n" in text
        unseen = {role for role, name in TAME.items() if not re.search(rf"_?{name}\b", text)}
        assert unseen == UNSEEN


@pytest.mark.parametrize("options", [(), ("-trigraphs",)], ids=["digraphs", "trigraphs"])
@given(by_role=all_names)
@_EACH
def test_tokens_are_those_of_tame_names(
    stubs: Path, options: tuple[str, ...], by_role: dict[str, str]
) -> None:
    expected, user = tame_tokens(stubs)
    texts = headers(by_role)
    assert preprocessed(texts, stubs, *options) == expected
    # Types of the user that C cannot have are bytes.
    found = preprocessed(texts, stubs, *options, "-DLSKEL_USER_TYPES")
    assert [*at_top(found)] == user


@cache
def tame_tokens(stubs: Path) -> tuple[list[str], list[str]]:
    texts = headers(TAME)
    found = preprocessed(texts, stubs, "-DLSKEL_USER_TYPES")
    return preprocessed(texts, stubs), [*at_top(found)]


_FUNCTIONS = {"close", "main", "open"}


@given(by_role=all_names)
@settings(_EACH, max_examples=3)
def test_they_compile(by_role: dict[str, str]) -> None:
    """In C and C++, whatever the names are macros or keywords of."""
    for role, name in by_role.items():
        # A label may not be a function that headers declare, of which any text may be the name.
        if "label" in role and (name in _FUNCTIONS or name not in WORDS):
            by_role[role] = f"{name} of {role}"
        # What becomes the same in a union without a name and around it is the compiler's to refuse.
        if "lifted" in role:
            by_role[role] = f"{role}_{name}"
    for text in headers(by_role):
        for language in ("c", "c++"):
            assert problems(text, language, *STRICT) == ""


def macros(*included: str) -> list[str]:
    """Macros without parameters that gcc has, or that headers define."""
    text = "".join(f"#include <{path}>\n" for path in included)
    done = subprocess.run(
        [compiler("c"), "-x", "c", "-E", "-dM", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    return re.findall(r"^#define (\w+)(?: .*)?$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("language", ["c", "c++"])
def test_no_member_is_a_macro_or_keyword(language: str) -> None:
    """Those of gcc, and those of <errno.h>; all in one struct."""
    names_, scope = MemberNames(), Scope()
    wanted = [*macros("errno.h"), *WORDS, "__restrict__", "__thread", "_Atomic", "_Alignas"]
    assert len(wanted) > 400
    lines = [f"int {scope.claim(names_.member(word))};" for word in dict.fromkeys(wanted)]
    defined = [f"#define {word}_ {word}" for word in names_.reserved if language == "c"]
    members = "\n".join(lines)
    text = "\n".join(["#include <errno.h>", *defined, f"struct all {{\n{members}\n}};", ""])
    assert problems(text, language, *STRICT) == ""


# -- the pieces ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("-trigraphs",)], ids=["digraphs", "trigraphs"])
def test_literals_are_what_they_are_of(tmp_path: Path, options: tuple[str, ...]) -> None:
    """A program compares each with the bytes, one by one."""
    texts = [*PIECES, *WORDS, *(a + b for a in PIECES[:40] for b in ("", "0", "7", "??/", "a"))]
    values: list[str | bytes] = [*texts, *(bytes([n]) + b"0" for n in range(256)), bytes(300)]
    numbers = [0, -1, 1 << 31, -(1 << 31), (1 << 31) - 1, 1 << 32, -(1 << 63), (1 << 64) - 1]
    lines = []
    for value in values:
        data = value if isinstance(value, bytes) else value.encode(errors="backslashreplace")
        bytes_ = ", ".join(map(str, [*data, 0]))
        lines.append(f"{{ {string(value)}, (unsigned char[]){{ {bytes_} }}, {len(data)} }},")
    text = "\n".join(
        [
            "#include <string.h>\n#include <linux/types.h>",
            "static const struct { const char *text; const void *data; size_t size; } all[] = {",
            *lines,
            "};",
            *(f'_Static_assert((__u64)({number(n)}) == {n % (1 << 64)}U, "");' for n in numbers),
            f"/* {' '.join(map(comment, texts))} */",
            "int main(void) {",
            "for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)",
            "if (memcmp(all[i].text, all[i].data, all[i].size + 1)) return 1;",
            "return 0; }",
        ]
    )
    (tmp_path / "all.c").write_text(text, encoding="ascii")
    program = tmp_path / "all"
    subprocess.run(
        [compiler("c"), *STRICT, *options, tmp_path / "all.c", "-o", program], check=True
    )
    subprocess.run([program], check=True)


@given(st.lists(names, max_size=20))
@settings(deadline=None)
def test_identifiers(found: list[str]) -> None:
    scope = Scope()
    claimed = [scope.claim(word(name)) for name in found]
    assert len({*claimed}) == len(claimed)
    for name in claimed:
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,270}", name)


# -- objects ---------------------------------------------------------------------------------------


OBJECT_ROLES = [*roles(object_file), "object"]


def headers_of_file(by_role: dict[str, str]) -> list[str]:
    obj = lskel.open_object(object_file(by_role.__getitem__), name=by_role["object"])
    return [
        header(obj, f"{kind}_{obj.name}", standalone=kind == "standalone")
        for kind in ("plain", "standalone")
    ]


@given(st.lists(names, min_size=1, max_size=12).map(partial(naming, OBJECT_ROLES)))
@_EACH
def test_objects(stubs: Path, by_role: dict[str, str]) -> None:
    expected = preprocessed(headers_of_file({role: role for role in OBJECT_ROLES}), stubs)
    assert preprocessed(headers_of_file(by_role), stubs) == expected
