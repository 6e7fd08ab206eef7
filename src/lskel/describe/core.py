"""CO-RE relocations in words: the kernel field, type or enumerator of each.

Source: Documentation/bpf/llvm_reloc.rst ("CO-RE Relocations") of the kernel.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from lskel.bpf import insn as i
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.ext import Records
from lskel.btf.types import TypeId
from lskel.core_relo.records import OF_ENUMERATORS, CoreKind, indexes
from lskel.cursor import ByteOrder
from lskel.describe.btf_cache import once
from lskel.describe.jsonable import text_or_error
from lskel.describe.records import unpack
from lskel.describe.variables import type_words
from lskel.errors import BadObject

_KINDS = frozenset(CoreKind)

_Part = TypeVar("_Part")


class CoreRelo(NamedTuple):
    """A relocation: its `kind`, and its `target`, such as ``struct task_struct.comm[2]``.

    `access` is the path as in BTF.ext: indexes of members and elements, ``0:5:2``; ``0`` for a
    type, the index of an enumerator for an enumerator.
    """

    kind: str
    target: str
    access: str


class CoreRelos:
    """The CO-RE relocations of a program, by instruction."""

    def __init__(self, records: Records, btf: Btf | None, order: ByteOrder) -> None:
        self._btf = btf
        self._places: dict[int, list[tuple[int, int, int]]] = {}
        for offset, type_id, string, kind in unpack(records, "IIII", order):
            self._places.setdefault(offset // i.SIZE, []).append((type_id, string, kind))

    def at(self, insn: int) -> tuple[CoreRelo, ...]:
        """The relocations of an instruction: none or, in practice, one."""
        btf = self._btf
        if btf is None:
            return ()
        return tuple(_describe(btf, place) for place in self._places.get(insn, ()))


@once
def _describe(btf: Btf, place: tuple[int, int, int]) -> CoreRelo:
    type_id, string, number = place
    kind = CoreKind(number).name.lower() if number in _KINDS else f"kind {number}"
    access = text_or_error(lambda: btf.string(string))
    path = _enumerator if number in OF_ENUMERATORS else _field
    return CoreRelo(
        kind, text_or_error(lambda: path(btf, TypeId(type_id), indexes(access))), access
    )


def _enumerator(btf: Btf, type_id: TypeId, path: list[int]) -> str:
    text = type_words(btf, type_id)
    found = btf.get(btf.resolve(type_id), t.Enum)
    return f"{text}::{_pick(found.values, path[0], text)[0]}"


def _field(btf: Btf, type_id: TypeId, path: list[int]) -> str:
    """Members of anonymous structs are named directly, as in C."""
    text = type_words(btf, type_id)
    if path[0]:
        text += f"[{path[0]}]"
    for index in path[1:]:
        found = btf[btf.resolve(type_id)]
        if isinstance(found, t.CompositeType):
            member = _pick(found.members, index, text)
            text += f".{member.name}" if member.name else ""
            type_id = member.type
        elif isinstance(found, t.ArrayType):
            text += f"[{index}]"
            type_id = found.type
        else:
            raise BadObject(f"{text}: {found.kind.name} has no members or elements")
    return text


def _pick(parts: tuple[_Part, ...], index: int, text: str) -> _Part:
    if index >= len(parts):
        raise BadObject(f"{text}: index {index} out of range, it has {len(parts)} parts")
    return parts[index]
