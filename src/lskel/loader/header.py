"""Extracting the loader from C headers of `bpftool gen skeleton -L`."""

from __future__ import annotations

import re
from typing import NamedTuple

from lskel import budget
from lskel.bpf import context
from lskel.bpf import insn as i
from lskel.cursor import ByteOrder
from lskel.errors import BadInput
from lskel.loader.blob import MAX_SIZE

# bpftool up to 7.3 assigns the literals to members of opts; later versions use two arrays.
_DATA = re.compile(r'opts(?:\.data = \(void \*\)|_data\[\][^"=]{0,100}= )"([^"]*)"')
_INSNS = re.compile(r'opts(?:\.insns = \(void \*\)|_insn\[\][^"=]{0,100}= )"([^"]*)"')
_DESCRIPTORS = re.compile(r"struct bpf_(map|prog)_desc (\w+);")
_SIGN = "bpf_loader_ctx"
# The register with the context when a program starts.
_R1 = 1
_COPY = i.ALU64 | i.MOV | i.X
_ORDERS: tuple[ByteOrder, ...] = ("little", "big")
# The literals contain \xNN, \0, and newlines; anything else is not from bpftool.
_ESCAPES = re.compile(r"\\x([0-9a-fA-F]{2})|\\0|\\\n")


class LightSkeleton(NamedTuple):
    """A loader from a header: names of its maps and programs, in context order."""

    insns: bytes
    blob: bytes
    maps: tuple[str, ...]
    programs: tuple[str, ...]

    @property
    def context_size(self) -> int:
        """Bytes of the program's context."""
        return context.size(len(self.maps), len(self.programs))

    @property
    def order(self) -> ByteOrder:
        """The byte order of the target: registers of an instruction are bit fields.

        Loaders begin by copying the address of the context. BadInput if this one does not.
        """
        if len(self.insns) >= i.SIZE:
            firsts = {order: i.read(self.insns, 0, order) for order in _ORDERS}
            found = [o for o, insn in firsts.items() if insn.op == _COPY and insn.src == _R1]
            if len(found) == 1:
                return found[0]
        raise BadInput("its first instruction does not copy the context: byte order unknown")


def is_header(data: bytes) -> bool:
    """Whether this looks like a light skeleton's header."""
    return _SIGN.encode() in data[: 1 << 16]


def parse_header(text: str) -> LightSkeleton:
    """The loader in a header; BadInput or LimitExceeded if it has no valid one."""
    names: dict[str, list[str]] = {"map": [], "prog": []}
    for what, name in _DESCRIPTORS.findall(text):
        names[what].append(name)
    return LightSkeleton(
        insns=_literal(_INSNS, text, "instructions", budget.INSNS),
        blob=_literal(_DATA, text, "data", MAX_SIZE),
        maps=tuple(names["map"]),
        programs=tuple(names["prog"]),
    )


def _literal(pattern: re.Pattern[str], text: str, what: str, limit: int) -> bytes:
    match = pattern.search(text)
    if not match:
        raise BadInput(f"not a light skeleton: the string with the loader's {what} is missing")
    body = match[1]
    if _ESCAPES.sub("", body):
        raise BadInput(f"the string with the loader's {what} is not in bpftool's format")
    digits = body.replace("\\\n", "").replace("\\0", "00").replace("\\x", "")
    budget.check(len(digits) // 2, limit, f"bytes of the loader's {what}")
    return bytes.fromhex(digits)
