"""C headers of objects that are made to write code into them, or to keep their writer busy."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import lskel
from lskel import budget
from lskel.btf.c import type_name
from lskel.btf.types import IntEncoding, TypeId
from lskel.errors import BadObject
from tests.build.btf import BtfBuilder
from tests.build.elf import Elf, Symbol, SymbolType, bss_section, data_section, one_program
from tests.skeleton.c.headers import STRICT, build, compiler, light, problems

INPUTS = Path(__file__).parent / "inputs"
BOTH = pytest.mark.parametrize("standalone", [False, True], ids=["plain", "standalone"])


def identifiers(header: str) -> set[str]:
    """What a compiler sees but for literals and comments."""
    command = [compiler("c"), "-E", "-P", "-x", "c", "-"]
    done = subprocess.run(command, input=header, capture_output=True, text=True, check=True)
    return set(re.findall(r"\w+", re.sub(r'"(?:[^"\\]|\\.)*"', "", done.stdout)))


@BOTH
def test_kconfig_name(standalone: bool) -> None:
    """The name of a value ends the string, the table and the statement, and declares something."""
    name = 'CONFIG_", 0 }, }; int evil_injected; /*______________________'
    obj = lskel.open_object(INPUTS / "inj-c-kconfig.bpf.o")
    assert [var.name for var in obj.trace().kconfig.vars] == [name]  # type: ignore[union-attr]
    header = light(obj, "made", standalone=standalone)
    assert "evil_injected" in header
    assert "evil_injected" not in identifiers(header)
    for language in ("c", "c++"):
        assert problems(header, language, *STRICT) == ""


@BOTH
@pytest.mark.parametrize(
    "target",
    [
        'a", 0); evil_injected(); ("',
        'a??/", 0); evil_injected(); ("',
        "a\\",
        '*/ evil_injected /*"',
    ],
)
def test_tracepoint(tmp_path: Path, standalone: bool, target: str) -> None:
    """The target of a raw tracepoint; the program is one that somebody has written before."""
    obj = lskel.open_object(bytes(one_program(f"raw_tp/{target}")), name="c1")
    header = light(obj, "c1", standalone=standalone)
    assert "evil_injected" not in identifiers(header)
    program = (INPUTS / "inj-c-rawtp.c").read_text().replace("c1.lskel.h", "skel.h")
    built = build(tmp_path / "built", header, program, "-trigraphs")
    assert target.encode() in built.read_bytes()


# -- types that have no end ------------------------------------------------------------------------


def with_variables(b: BtfBuilder, *types: tuple[TypeId, int]) -> Elf:
    """An object with variables of these types and sizes."""
    size = sum(size for _, size in types)
    symbols, variables, end = [], [], 0
    for number, (type_id, width) in enumerate(types):
        name = f"v{number}"
        symbols.append(Symbol(name, ".bss", value=end, size=width, type=SymbolType.OBJECT))
        variables.append((b.add_var(name, type_id), end, width))
        end += width
    b.add_datasec(".bss", size, variables)
    return one_program().adding(
        bss_section(".bss", size),
        data_section(".BTF", b.bytes(), writable=False),
        symbols=symbols,
    )


def test_array_of_itself() -> None:
    with pytest.raises(BadObject, match=r"variable 'last_comm': BTF: type \[12\] contains itself"):
        light(lskel.open_object(INPUTS / "hang-c.bpf.o"), "never")


CYCLES: dict[str, Callable[[BtfBuilder], TypeId]] = {
    "array": lambda b: b.add_array(2, 1),
    "array of arrays": lambda b: b.add_array(b.add_array(3, 2), 2),
    "typedef": lambda b: b.add_array(b.add_typedef("again", 3), 1),
    "const": lambda b: b.add_array(b.add_const(b.add_volatile(4)), 1),
    "struct": lambda b: b.add_array(b.add_struct("s", 4, [("a", 3, 0)]), 1),
    "unnamed struct": lambda b: b.add_array(b.add_struct("", 4, [("", 3, 0)]), 1),
    "union of a const": lambda b: b.add_union("u", 4, [("a", b.add_const(3), 0)]),
    "pointers": lambda b: b.add_ptr(b.add_ptr(3)),
    "function": lambda b: b.add_ptr(b.add_func_proto(3, [("a", 3)])),
}


@pytest.mark.parametrize("cycle", CYCLES.values(), ids=CYCLES)
def test_types_that_contain_themselves(cycle: Callable[[BtfBuilder], TypeId]) -> None:
    """An error that names the variable and the type, in each kind of header."""
    b = BtfBuilder()
    b.add_int("int", 4, IntEncoding.SIGNED)
    type_id = cycle(b)
    obj = lskel.open_object(bytes(with_variables(b, (type_id, 8))), name="cycle")
    assert type_name(b.btf(), type_id)
    for standalone in (False, True):
        with pytest.raises(
            BadObject, match=r"cycle: variable 'v0': BTF: type \[\d\] contains itse"
        ):
            light(obj, "cycle", standalone=standalone)


def test_declarations_that_double() -> None:
    """A variable whose type says more than fits anywhere."""
    b = BtfBuilder()
    inner = b.add_int("int", 4, IntEncoding.SIGNED)
    for _ in range(40):
        inner = b.add_union("", 4, [("a", inner, 0), ("b", inner, 0)])
    made = with_variables(b, (b.add_array(inner, 1), 4))
    obj = lskel.open_object(bytes(made), name="wide")
    limit = budget.HEADER_MENTIONS
    error = rf"variable 'v0': .*{limit + 1} mentions of types, at most {limit} allowed"
    with pytest.raises(lskel.LimitExceeded, match=error):
        light(obj, "wide", standalone=True)


def test_names_of_many_variables() -> None:
    """The same long name again and again is neither compared nor repeated at full length."""
    b = BtfBuilder()
    name = "n" * budget.NAME
    members = [(name, b.add_int("int", 4), 0)]
    types = [(b.add_struct(name, 4, members), 4) for _ in range(300)]
    header = light(
        lskel.open_object(bytes(with_variables(b, *types)), name="long"), "long", standalone=True
    )
    assert len(header) < 1 << 20
    assert problems(header, "c", *STRICT) == ""


@pytest.mark.parametrize(
    "name", ["int", "long short", "signed unsigned", "int int", "unsigned", "char int", "double"]
)
def test_numbers_that_c_does_not_have(name: str) -> None:
    """A type of two bytes with the name of another one, or with words that mean nothing."""
    b = BtfBuilder()
    made = with_variables(b, (b.add_int(name, 2), 2))
    header = light(lskel.open_object(bytes(made), name="numbers"), "numbers")
    assert "unsigned short v0;" in header
    assert problems(header, "c", *STRICT) == ""
