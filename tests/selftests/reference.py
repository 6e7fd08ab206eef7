"""What bpftool and the ELF tools say about an object of the corpus."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from lskel.bpf import insn as i
from lskel.bpf.insn import Pseudo
from lskel.bpf.layouts import PROG_INFO
from lskel.runtime.info import map_info, prog_info
from lskel.runtime.objects import number_in, read_info
from lskel.runtime.syscall import address_of, bpf
from tests import corpus
from tests.corpus import Corpus

_UPROBE_MULTI = (
    "libbpf asks the kernel that it generates on for links of uprobe_multi (6.6), and loads USDT "
    "programs for these where it has them; lskel's attach one location each, on any kernel"
)
_USDT = ("test_usdt", "test_usdt_linked", "test_urandom_usdt")
_NEWER_USDT = ("uprobe_multi", "uprobe_multi_usdt", "uretprobe_stack")
# Where lskel differs from bpftool 7.8, and why it is right.
DIFFERENT: dict[Corpus, dict[str, str]] = {
    corpus.V6_1: dict.fromkeys(_USDT, _UPROBE_MULTI),
    corpus.V6_12: {
        **dict.fromkeys((*_USDT, *_NEWER_USDT), _UPROBE_MULTI),
        "test_ksyms_weak": (
            "a kfunc of which code takes the address, and which it calls, is looked up once, not "
            "twice"
        ),
        "task_kfunc_success": (
            "kfuncs are looked up without the flavour in their names (___one), as libbpf does when "
            "it loads directly; its loaders find none"
        ),
    },
}
# Objects of more than 32 functions: bpftool's loader keeps fds of all on its stack, which has room
# for 32, and writes past its end. The verifier refuses it.
OVERFLOW: dict[Corpus, frozenset[str]] = {
    corpus.V6_1: frozenset(),
    corpus.V6_12: frozenset(
        {
            *("exceptions", "verifier_bounds", "verifier_helper_value_access", "verifier_sdiv"),
            *("verifier_sock", "verifier_sock_addr", "verifier_value_ptr_arith"),
            "verifier_xdp_direct_packet_access",
        }
    ),
}

# The same, but few are autoloaded: only the code that runs after a failure reads past the end.
OVERFLOW_AFTER_FAILURE = frozenset({"exceptions_fail", "linked_list_fail"})

each_corpus = pytest.mark.parametrize("of", corpus.CORPORA, ids=str)

PATH = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"


def tool(*command: str | Path) -> str:
    """A command's output."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "PATH": PATH},
        capture_output=True,
        text=True,
        check=True,
        errors="replace",
    )
    return done.stdout


@cache
def generated_by_bpftool(of: Corpus = corpus.V6_1) -> dict[Path, str]:
    """The light skeletons of bpftool -L by object, as text."""
    return {p.source: p.path.read_text() for p in corpus.light_skeletons(of) if p.ok}


class Open(Protocol):
    """What has an fd: one of its own, a map, a program."""

    def fileno(self) -> int: ...


class MapFacts(NamedTuple):
    """What two loads of one map must agree on."""

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    map_extra: int
    typed: bool
    key_type: int
    value_type: int


def map_facts(fd: Open) -> MapFacts:
    """The facts of a loaded map."""
    info = map_info(fd.fileno())
    return MapFacts(
        info.name,
        info.type,
        info.key_size,
        info.value_size,
        info.max_entries,
        info.flags,
        info.map_extra,
        bool(info.btf_id),
        info.btf_key_type_id,
        info.btf_value_type_id,
    )


class ProgramFacts(NamedTuple):
    """What two loads of one program must agree on; instructions and records are a line each."""

    name: str
    type: int
    tag: str
    attach_btf_id: int
    insns: str
    func_info: str
    line_info: str


def program_facts(fd: Open, maps: Sequence[Open]) -> ProgramFacts:
    """The facts of a loaded program, whose object has these maps."""
    info = prog_info(fd.fileno(), xlated=True)
    assert len(info.xlated) == info.xlated_len
    sizes = read_info(fd.fileno(), PROG_INFO)
    tables = []
    for table in ("func_info", "line_info"):
        count, size = (
            number_in(sizes, PROG_INFO, field) for field in (f"nr_{table}", f"{table}_rec_size")
        )
        records = bytearray(count * size)
        fields = {f"nr_{table}": count, f"{table}_rec_size": size, table: address_of(records)}
        read_info(fd.fileno(), PROG_INFO, bpf, **fields)
        tables.append(_lines(records, size))
    numbers = {map_info(fd.fileno()).id: number for number, fd in enumerate(maps)}
    insns = _lines(_comparable(info.xlated, numbers), i.SIZE)
    return ProgramFacts(info.name, info.type, info.tag, info.attach_btf_id, insns, *tables)


def _comparable(xlated: bytes, numbers: dict[int, int]) -> bytearray:
    """The code with maps by their number, and without addresses that the kernel gave a load."""
    code = bytearray(xlated)
    for at in i.find(xlated, i.OP_LD_IMM64):
        insn, high = (i.read(xlated, slot, sys.byteorder) for slot in (at, at + 1))
        if insn.src in (Pseudo.MAP_FD, Pseudo.MAP_VALUE):
            i.set_imm(code, at, numbers[insn.imm], sys.byteorder)
        elif insn.src == Pseudo.IMM64 and high.imm >> 16 == -1:
            i.set_imm(code, at, 0, sys.byteorder)
            i.set_imm(code, at + 1, 0, sys.byteorder)
    return code


def _lines(data: bytes | bytearray, size: int) -> str:
    pieces = (data[start : start + size].hex() for start in range(0, len(data), size or 1))
    return "\n".join(pieces)
