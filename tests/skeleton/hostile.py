"""Names made to do harm, and a loader of every kind of thing that has a name."""

from __future__ import annotations

import itertools
import keyword
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from hypothesis import strategies as st

from lskel.bpf.enums import AttachType, MapType, ProgType
from lskel.bpf.kconfig import KconfigType, KconfigVar
from lskel.bpf.struct_ops import Member, StructOps
from lskel.btf.ext import Records
from lskel.btf.kinds import Kind
from lskel.btf.types import IntEncoding, VarLinkage
from lskel.loader.blob import Region, RegionKind
from lskel.loader.model import Form, Loader
from lskel.trace import (
    Arena,
    AttachBtfId,
    AttachFd,
    BtfFind,
    BtfLoad,
    ExternReloc,
    Input,
    KconfigResult,
    KsymFind,
    LinkResult,
    MapCreate,
    MapResult,
    MapUpdate,
    MemberIndex,
    Op,
    ProgLoad,
    ProgramResult,
    RawTracepointOpen,
    Ref,
    StructOpsResult,
    Trace,
    TypeSize,
)
from tests.build import elf
from tests.build.btf import BtfBuilder

# By what a name of a role may be.
Naming = Callable[[str], str]

# What means something to Python, C and its preprocessor, templates, formats, or a terminal.
PIECES = (
    *('"', "'", '"""', "'''", "\\", "\\\\", "\\\n", "\n", "\r", "\f", "\v", "\0", "\t", "#", " "),
    *("(", ")", "(,)", ",", ":", ";", "=", "{", "};", "$", "/", "*", "?", "__"),
    *("*/", "/*", "//", "??/", "??'", "<:", "%:", "\\x41", "\\0", "\\u0041"),
    *("%s", "%n", "%(a)s", "#{", "#}", "{{", "}}", "{%", "%}", "{0}", "{}", "{0.__class__}"),
    *("$(id)", "`id`", "coding: utf-7", "coding=unicode_escape", "-*- coding: rot13 -*-"),
    *("vim: set fenc=x:", "\u202e", "\u2066", "\u200b", "\ufeff", "\x1b[2J", "\x7f", "\x85"),
    *("\u2028", "\udcff", "é", "ﬁ", "ª", "Ⅷ", "𝔘", "𝒸𝓁𝒶𝓈𝓈", "\U0001f600", "a", "1"),
    *('"+open("/x","w").name+"', '"""\nopen("/x","w")\n"""', "\nexit(7)\n", "__import__('os')"),
    *('#include "/etc/passwd"', '\n#include "/etc/passwd"\n', "\n#define struct", "0;}int evil"),
    *('", 0, 0, 0, 0, 0 }, }; int evil; /*', "A" * 1000, "??/\n" * 100),
)
# What languages, compilers, libraries, templates or the generated text itself have already.
WORDS = (
    *keyword.kwlist,
    *("_", "__", "___", "__init__", "__class__", "__dict__", "__debug__", "__all__", "__x", "_x_"),
    *("mro", "name", "value", "real", "self", "cls", "items", "close", "close_", "add", "has"),
    *("load", "load_", "attach", "maps", "progs", "links", "pin_root", "_image", "_maps", "_kind"),
    *("_links", "_owners", "_skeleton", "_unpacked", "_BLOB", "_RUNTIME", "_members_", "_fields_"),
    *("asdict", "codec_", "from_buffer", "TYPE_CHECKING", "IntEnum", "Struct", "Maps", "Skeleton"),
    *("MapDefinition", "HashMap", "int", "bytes", "print", "match", "type", "a b", "a_b", "a-b"),
    *("_generate_next_value_", "_missing_", "_value2member_map_", "x_2", "x_", "x"),
    *("auto", "struct", "_Bool", "_Static_assert", "asm", "typeof", "bool", "true", "class_"),
    *("new", "namespace", "operator", "this", "nullptr", "co_await", "errno", "unix", "linux"),
    *("NULL", "assert", "stdin", "EOF", "EINVAL", "i386", "st_atime", "__LINE__", "__FILE__"),
    *("__attribute__", "__asm__", "__func__", "__typeof", "__builtin_trap", "_Pragma"),
    *("__COUNTER__", "__cplusplus", "__KERNEL__", "__x86_64__", "__VA_ARGS__", "defined", "main"),
    *("ctx", "open", "bss", "data", "skel", "__pad0"),
    *("SEEK_SET", "MAP_FAILED", "O_RDONLY", "MAP_SHARED", "ENOTSUP", "offsetof", "memset"),
    *("LSKEL_ASSERT", "LSKEL_LOAD", "__has_include", "close_fd", "sysconf"),
)
# By number: what hypothesis says of a strategy is shorter then.
_PIECE = st.integers(0, len(PIECES) - 1).map(PIECES.__getitem__)
names = st.one_of(
    st.sampled_from(WORDS),
    st.lists(_PIECE, min_size=1, max_size=4).map("".join),
    st.text(min_size=1, max_size=20),
)


def in_file(name: str) -> str:
    """A name as the readers of ELF and BTF have it, if a file holds it: no NUL, and UTF-8."""
    data = name.replace("\0", "\1").encode(errors="surrogateescape")
    return data.decode(errors="backslashreplace")


def roles(make: Callable[[Naming], object]) -> list[str]:
    """What `make` has names for, in order."""
    found: dict[str, str] = {}
    make(lambda role: found.setdefault(role, f"role{len(found)}"))
    return [*found]


def naming(of: Sequence[str], found: Sequence[str]) -> dict[str, str]:
    """Names for roles, in order and from the start again; one that a file has gets a number."""
    taken: set[str] = set()
    by_role: dict[str, str] = {}
    for role, name in zip(of, itertools.cycle(found), strict=False):
        spellings = (f"{name}{number}" if number else name for number in itertools.count())
        # Names with an "s" more are those of a buffer's events, too.
        by_role[role] = next(s for s in spellings if not {in_file(s), in_file(s) + "s"} & taken)
        taken |= {in_file(by_role[role]), in_file(by_role[role]).removesuffix("s")}
    return by_role


def loader(naming: Naming) -> Loader:
    """A loader that has all that a Python skeleton writes down; `naming` names each thing."""

    def name(role: str) -> str:
        return in_file(naming(role))

    ops: list[Op] = [BtfLoad(_btf(name), name("needed"))]
    maps: list[MapResult] = []
    programs: list[ProgramResult] = []

    def add_map(role: str, kind: int, sizes: tuple[int, int], section: str = ".maps") -> int:
        types = (PAIR, PAIR) if role == "hash" else (0, 0)
        slot = len(maps)
        maps.append(MapResult(name(role), section, len(ops), is_pinned=role == "hash"))
        numbers = (4, 0, 0, 1 << 63)
        ops.append(
            MapCreate(
                *(name(role), kind, *sizes, *numbers, Ref(0), *types),
                *(False, None, None, slot),
            )
        )
        return slot

    def add_data(role: str, section: str, value: bytes) -> int:
        slot = add_map(role, MapType.ARRAY, (4, SIZE), section)
        ops.append(MapUpdate(Ref(len(ops) - 1), 0, value, SIZE, initial=True))
        return slot

    def add_program(role: str, section: str, *, autoload: bool = True, loads: bool = True) -> None:
        slot = len(programs)
        programs.append(ProgramResult(name(role), section, len(ops) if loads else None, autoload))
        if loads:
            ops.append(
                ProgLoad(
                    name(role),
                    ProgType.TRACING,
                    Input(1) if role == "raw" else AttachType.CGROUP_INET_INGRESS,
                    0,
                    name("licence"),
                    bytes(8),
                    Ref(0),
                    *(NO_RECORDS, NO_RECORDS, NO_RECORDS),
                    (ExternReloc(0, Ref(1), is_call=False),),
                    *(None, None, None),
                    slot,
                )
            )

    ops.append(BtfFind(name("kfunc"), Kind.FUNC, is_weak=True))
    ops.append(KsymFind(name("ksym"), is_weak=False))
    add_map("hash", MapType.HASH, (SIZE, SIZE))
    add_map("array", MapType.ARRAY, (4, 3))
    add_map("ring", MapType.RINGBUF, (0, 0))
    add_map("perf", MapType.PERF_EVENT_ARRAY, (4, 4))
    add_map("unknown", 4000, (4, 4))
    add_data("data", f".data.{name('section')}", b"\1" * SIZE)
    add_data("other data", f".{name('other section')}", b"")
    kconfig = add_data("kconfig", ".kconfig", b"")
    ops_slot = add_map("ops", MapType.STRUCT_OPS, (4, 8))
    arena = add_map("arena", MapType.ARENA, (0, 0))
    empty_arena = add_map("empty arena", MapType.ARENA, (0, 0))
    add_program("raw", f"raw_tp/{name('raw tracepoint')}")
    add_program("tp", f"tp/{name('category')}/{name('tracepoint')}")
    add_program("kprobe", f"kprobe/{name('function')}", autoload=False)
    add_program("usdt", f"usdt/{name('binary')}:{name('provider')}:{name('probe')}")
    add_program("freplace", f"freplace/{name('replaced')}")
    add_program("own section", f"!{name('own')}", loads=False)
    ops.append(RawTracepointOpen(Ref(len(ops) - 1)))
    trace = Trace(
        name=naming("object"),
        order=sys.byteorder,
        ops=tuple(ops),
        maps=tuple(maps),
        programs=tuple(programs),
        inputs=(
            TypeSize(name("sized")),
            MemberIndex(name("table"), name("row")),
            AttachFd(4),
            AttachBtfId(4),
        ),
        kconfig=KconfigResult(
            kconfig,
            SIZE,
            (
                KconfigVar(name("CONFIG"), KconfigType.INT, 4, True, 0, True),
                KconfigVar(name("CONFIG_2"), KconfigType.STRING, 4, False, 4, True),
            ),
        ),
        struct_ops=(
            StructOpsResult(
                ops_slot,
                StructOps(
                    name("ops type"),
                    (
                        Member(name("flags"), b"'\"\\\n", False, None),
                        Member(name("called"), b"", True, name("raw")),
                    ),
                ),
            ),
        ),
        arenas=(Arena(arena, b"\2" * SIZE), Arena(empty_arena, b"")),
        links=(LinkResult(0, len(ops) - 1),),
    )
    blob = b'"""\\\n' + bytes(100)
    regions = [Region(0, 8, RegionKind.ATTR, number) for number in range(len(ops))]
    regions += [Region(8, 8, RegionKind.DATA, number, "insns") for number in range(len(ops))]
    return Loader(
        Form.TABLE, trace, bytes(16), blob, tuple(regions), 0, btf=b"btf", func_info=b"func"
    )


# Bytes of the struct that all sections hold; the number of its type.
SIZE = 40
PAIR = 8
NO_RECORDS = Records(8, b"")


def _btf(name: Naming) -> bytes:
    b = BtfBuilder()
    u32 = b.add_int(name("u32"), 4)
    char = b.add_int(name("char"), 1, IntEncoding.SIGNED)
    color = b.add_enum(name("enum"), [(name(f"label {n}"), n) for n in range(8)])
    unnamed = b.add_enum("", [(name(f"other label {n}"), n) for n in range(3)])
    inner = b.add_union("", 4, [(name("lifted"), u32, 0), (name("lifted 2"), u32, 0)])
    pair = b.add_struct(
        name("pair"),
        SIZE,
        [
            (name("first"), u32, 0),
            (name("text"), b.add_array(char, 4), 32),
            (name("enum member"), color, 64),
            (name("unnamed enum"), unnamed, 96),
            ("", inner, 128),
            ("", inner, 160),
            (name("bits"), u32, 192, 3),
            (name("items"), b.add_array(u32, 2), 224),
        ],
    )
    assert pair == PAIR
    typedef = b.add_typedef(name("typedef"), b.add_struct("", SIZE, [(name("member"), u32, 0)]))
    variables = [
        (b.add_var(name("variable"), pair), 0, SIZE),
    ]
    b.add_datasec(f".data.{name('section')}", SIZE, variables)
    b.add_datasec(f".{name('other section')}", SIZE, [(b.add_var(name("v2"), typedef), 0, SIZE)])
    extern = b.add_var(name("CONFIG"), u32, VarLinkage.GLOBAL_EXTERN)
    b.add_datasec(".kconfig", SIZE, [(extern, 0, 4)])
    b.add_datasec(".addr_space.1", SIZE, [(b.add_var(name("in arena"), u32), 4, 4)])
    return b.bytes(sys.byteorder)


def object_file(naming: Naming) -> bytes:
    """An object that has programs, a map with types, and variables; names are bytes of any kind."""

    def name(role: str) -> str:
        return naming(role).replace("\0", "\1")

    b = BtfBuilder()
    u32 = b.add_int("unsigned int", 4)
    numbers = {n: b.add_ptr(b.add_array(u32, n)) for n in (1, 8)}
    color = b.add_enum(name("enum"), [(name("label"), 0), (name("other label"), 1)])
    pair = b.add_struct(name("pair"), 8, [(name("member"), u32, 0), (name("second"), color, 32)])
    members = [("type", 1), ("max_entries", 8)]
    fields = [(text, numbers[n], 64 * at) for at, (text, n) in enumerate(members)]
    fields += [("key", b.add_ptr(pair), 128), ("value", b.add_ptr(u32), 192)]
    definition = b.add_struct("", 32, fields)
    b.add_datasec(".maps", 32, [(b.add_var(name("map"), definition), 0, 32)])
    # Variables are found by their section's name, which must be text.
    data = f".data.{in_file(naming('section'))}"
    b.add_datasec(data, 8, [(b.add_var(name("variable"), pair), 0, 8)])
    second = f"tp/{name('category')}/{name('tracepoint')}"
    first = elf.one_program(f"raw_tp/{name('raw tracepoint')}", name=name("program"))
    size, kind = len(elf.RETURN_0), elf.SymbolType
    made = first.adding(
        elf.program_section(second, elf.RETURN_0),
        elf.data_section(".maps", bytes(32)),
        elf.data_section(data, b"\1" * 8),
        elf.Section(".BTF", b.bytes(sys.byteorder)),
        symbols=(
            elf.Symbol(name("other program"), second, size=size, type=kind.FUNC),
            elf.Symbol(name("map"), ".maps", size=32, type=kind.OBJECT),
            elf.Symbol(name("variable"), data, size=8, type=kind.OBJECT),
        ),
    )
    return bytes(replace(made, order=sys.byteorder))
