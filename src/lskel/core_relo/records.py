"""The CO-RE relocations of a program, as data."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from lskel.bpf import insn as i
from lskel.btf.btf import Btf
from lskel.btf.ext import CORE_RELO_SIZE, Records
from lskel.btf.types import TypeId
from lskel.cursor import ByteOrder, mark
from lskel.errors import BadObject


class CoreKind(IntEnum):
    """What a relocation asks (enum bpf_core_relo_kind of uapi/linux/bpf.h), with libbpf's names."""

    BYTE_OFF = 0
    BYTE_SZ = 1
    FIELD_EXISTS = 2
    SIGNED = 3
    LSHIFT_U64 = 4
    RSHIFT_U64 = 5
    LOCAL_TYPE_ID = 6
    TARGET_TYPE_ID = 7
    TYPE_EXISTS = 8
    TYPE_SIZE = 9
    ENUMVAL_EXISTS = 10
    ENUMVAL_VALUE = 11
    TYPE_MATCHES = 12


OF_TYPES = frozenset(
    {
        CoreKind.LOCAL_TYPE_ID,
        CoreKind.TARGET_TYPE_ID,
        CoreKind.TYPE_EXISTS,
        CoreKind.TYPE_SIZE,
        CoreKind.TYPE_MATCHES,
    }
)
OF_ENUMERATORS = frozenset({CoreKind.ENUMVAL_EXISTS, CoreKind.ENUMVAL_VALUE})
# The longest access path that the kernel and libbpf accept (BPF_CORE_SPEC_MAX_LEN).
MAX_STEPS = 64


class CoreQuestion(NamedTuple):
    """What a relocation asks: `access` is its path as in BTF.ext, such as ``0:5:2``."""

    kind: CoreKind
    type: TypeId
    access: str


class CoreRelocation(NamedTuple):
    """The relocation of the instruction at `insn` (a slot)."""

    insn: int
    question: CoreQuestion


def read_relocations(records: Records, btf: Btf, order: ByteOrder) -> Iterator[CoreRelocation]:
    """The relocations in order. BadObject for unknown kinds and offsets within an instruction."""
    if len(records) and records.size < CORE_RELO_SIZE:
        raise BadObject(f"expected records of {CORE_RELO_SIZE} bytes or more, got {records.size}")
    record = struct.Struct(mark(order) + "IIII")
    for number in range(len(records)):
        offset, type_id, access, kind = record.unpack_from(records.data, number * records.size)
        if offset % i.SIZE:
            raise BadObject(f"CO-RE relocation {number}: offset {offset} is within an instruction")
        try:
            known = CoreKind(kind)
        except ValueError:
            raise BadObject(f"CO-RE relocation {number}: kind {kind} is unknown") from None
        question = CoreQuestion(known, TypeId(type_id), btf.string(access))
        yield CoreRelocation(offset // i.SIZE, question)


def indexes(access: str) -> list[int]:
    """The numbers of an access path. BadObject if it is not one, or too long."""
    parts = access.split(":", MAX_STEPS)
    if len(parts) > MAX_STEPS:
        raise BadObject(f"access path has more than {MAX_STEPS} steps")
    if not all(part.isdecimal() and len(part) <= len(str(1 << 32)) for part in parts):
        raise BadObject("access path is not a list of indexes")
    return [int(part) for part in parts]
