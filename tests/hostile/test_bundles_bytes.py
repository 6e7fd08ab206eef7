"""Bundles whose bytes are another's: a description of one object, the loader of another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lskel.loader.bundle import BLOB, INSNS, dump, load
from lskel.loader.generate import generate
from lskel.loader.model import Bytes
from lskel.skeleton.generate import Language
from tests.cli.in_process import lskel
from tests.loader.forged import forge

INPUTS = Path(__file__).parent / "inputs"
# bad: one instruction that no kernel takes. mismatch: prints EVIL. swap: of a larger object.
NAMES = ("bad", "mismatch", "swap")
each = pytest.mark.parametrize("name", NAMES)


def path_of(name: str) -> str:
    return str(INPUTS / f"{name}.lskel")


@each
def test_found(name: str) -> None:
    assert load(INPUTS / f"{name}.lskel").compared is Bytes.DIFFERENT


@pytest.mark.parametrize("member", [BLOB, INSNS])
def test_each_part_by_itself(member: str) -> None:
    """With all else as it is generated, one foreign member is enough."""
    foreign = load(INPUTS / "mismatch.lskel")
    true = dump(generate(foreign.trace, foreign.form))
    assert load(true).compared is Bytes.SAME
    content = {BLOB: foreign.blob, INSNS: foreign.insns}[member]
    forged = forge(true, lambda members: members.update({member: content}))
    assert load(forged).compared is Bytes.DIFFERENT


@each
@pytest.mark.parametrize(
    "command",
    [
        ["load"],
        ["load", "--replay", "direct"],
        ["load", "--replay", "simulator"],
        ["run", "--duration", "0"],
    ],
    ids=" ".join,
)
def test_refused(name: str, command: list[str]) -> None:
    out, err = lskel(command[0], path_of(name), *command[1:], status=1)
    assert out == ""
    warning, error = err.splitlines()
    assert warning.startswith(f"lskel: warning: {path_of(name)}: ")
    assert ": the bytes do not match the description" in error


@each
@pytest.mark.parametrize("language", [Language.PYTHON, Language.C], ids=lambda item: item.value)
def test_no_skeletons(name: str, language: Language, tmp_path: Path) -> None:
    target = tmp_path / "out"
    _, err = lskel("gen", path_of(name), "--lang", language.value, "-o", target, status=1)
    assert "the bytes do not match the description" in err
    assert not target.exists()


@pytest.mark.kernel
def test_bytes_that_the_kernel_refuses_are_not_replaced() -> None:
    out, err = lskel("load", path_of("bad"), "--trust-bytes", status=1)
    assert out == ""
    assert "the kernel refuses the loader program: bpf(BPF_PROG_LOAD): EINVAL" in err


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["inspect"], "insns=[16 insns]"),
        (["trace"], "insns=[16 insns]"),
        (["explain", "--json"], '"[16 insns]"'),
        (["disasm"], "r1 = 666"),
    ],
    ids=lambda item: item[0] if isinstance(item, list) else "",
)
def test_what_is_shown_is_of_the_bytes(command: list[str], shown: str) -> None:
    """They load a program of 16 instructions; that of the description has 6."""
    out, err = lskel(command[0], path_of("mismatch"), *command[1:])
    assert "the bytes do not match the description" in err
    assert shown in out
    assert not re.search(r"\b6 insns", out)


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["mismatch", "bad"])
def test_doctor(name: str) -> None:
    out, _ = lskel("doctor", path_of(name), status=1)
    assert "-> --trust-bytes runs them anyway" in out
