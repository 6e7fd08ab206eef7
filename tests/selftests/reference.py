"""What bpftool and the ELF tools say about an object of the corpus."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

from lskel.runtime.info import map_info, prog_info
from tests import corpus

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
def generated_by_bpftool() -> dict[Path, str]:
    """The light skeletons of bpftool -L by object, as text."""
    return {p.source: p.path.read_text() for p in corpus.light_skeletons() if p.ok}


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
    """What two loads of one program must agree on; `xlated` is bpftool's dump of it."""

    name: str
    type: int
    tag: str
    attach_btf_id: int
    xlated: str


def program_facts(fd: Open, maps: Sequence[Open], *, dump: bool) -> ProgramFacts:
    """The facts of a loaded program, whose object has these maps."""
    info = prog_info(fd.fileno())
    xlated = _dump(info.id, maps) if dump else str(info.xlated_len)
    return ProgramFacts(info.name, info.type, info.tag, info.attach_btf_id, xlated)


def _dump(program_id: int, maps: Sequence[Open]) -> str:
    numbers = {map_info(fd.fileno()).id: number for number, fd in enumerate(maps)}
    text = tool("bpftool", "prog", "dump", "xlated", "id", str(program_id))
    text = re.sub(r"map\[id:(\d+)\]", lambda m: f"map[{numbers[int(m.group(1))]}]", text)
    # Addresses of this boot, and what is made from them: tags of subprograms count map addresses.
    return re.sub(r"#0x[0-9a-f]+|0xffff[0-9a-f]{12}|bpf_prog_[0-9a-f]{16}_", "ADDRESS", text)
