"""Where a loader's blob has the attrs of calls: settings and BPF tokens are written there."""

from __future__ import annotations

from lskel.light_typing import NamedTuple


class MapPlace(NamedTuple):
    """Offsets in the blob: of the attr of MAP_CREATE, and of that of the inner map (0: none)."""

    attr: int
    inner: int = 0


class ProgramPlace(NamedTuple):
    """Offsets in the blob: of the attr of PROG_LOAD, and of the instructions; 0 if not loaded."""

    attr: int
    insns: int


class CallPlace(NamedTuple):
    """The attr of operation `op`, a call of bpf(2) with command `cmd`: offset and size."""

    op: int
    cmd: int
    offset: int
    size: int


class Places(NamedTuple):
    """Where the attrs of maps and programs are in the blob, by slot.

    `btf`: offset and size of the object's BTF; (0, 0) if it has none. `calls` are all that make
    maps, programs and BTF.
    """

    maps: tuple[MapPlace, ...]
    programs: tuple[ProgramPlace, ...]
    btf: tuple[int, int] = (0, 0)
    calls: tuple[CallPlace, ...] = ()
