"""struct_ops values as the target's kernel lays them out.

The object's struct need not be the kernel's: members are matched by name. A member that the kernel
lacks may only be 0; what the object does not know of stays 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from lskel.bpf.struct_ops import DATA_MEMBER, VALUE_PREFIX, Member, StructOps
from lskel.btf import types as t
from lskel.btf.btf import POINTER_SIZE, Btf
from lskel.errors import NotSupported, at


class KernelStruct(NamedTuple):
    """A struct of the kernel, and the BTF that has it: vmlinux's or a module's."""

    btf: Btf
    struct: t.Struct


class Kernel(Protocol):
    """A kernel's types."""

    def struct(self, name: str) -> KernelStruct | None:
        """The struct of this name, in vmlinux or else in a module."""


def type_size(kernel: Kernel, type_: str) -> int:
    """Bytes of the kernel's struct; NotSupported where it has none of that name."""
    return _struct(kernel, type_).struct.size


def member_index(kernel: Kernel, type_: str, member: str) -> int:
    """The number of a member of the kernel's struct; NotSupported where it has none."""
    for number, found in enumerate(_struct(kernel, type_).struct.members):
        if found.name == member:
            return number
    raise NotSupported(
        f"this kernel's struct {type_} has no member '{member}'",
        hint="leave its program out: --no-autoload PROGRAM",
    )


def value(kernel: Kernel, ops: StructOps, programs: Mapping[str, int]) -> bytes:
    """The value of element 0, which registers `ops`; `programs` are the fds of those loaded.

    NotSupported where a member does not fit the kernel's.
    """
    outer = _struct(kernel, VALUE_PREFIX + ops.type)
    data = next((m for m in outer.struct.members if m.name == DATA_MEMBER), None)
    if data is None:
        raise NotSupported(f"this kernel's struct {VALUE_PREFIX}{ops.type} has no member 'data'")
    btf = outer.btf
    inner = btf.get(btf.resolve(data.type), t.Struct)
    # Of members without names the first counts, as with libbpf.
    members = {member.name: member for member in reversed(inner.members)}
    content = bytearray(outer.struct.size)
    for member in ops.members:
        with at(f"struct {ops.type}", f"member '{member.name}'"):
            filled = _member_value(member, programs, btf)
            if not any(filled):
                continue
            known = members.get(member.name)
            if known is None:
                raise NotSupported("this kernel's struct has no such member, and it is not 0")
            _check(btf, known, member)
            start = (data.bit_offset + known.bit_offset) // 8
            content[start : start + len(filled)] = filled
    return bytes(content)


def _struct(kernel: Kernel, name: str) -> KernelStruct:
    found = kernel.struct(name)
    if found is None:
        raise NotSupported(
            f"this kernel has no struct {name}",
            hint="it does not support these struct_ops, or their module is not loaded",
        )
    return found


def _member_value(member: Member, programs: Mapping[str, int], btf: Btf) -> bytes:
    if member.is_function:
        fd = programs.get(member.program, 0) if member.program is not None else 0
        return fd.to_bytes(POINTER_SIZE, btf.order)
    return member.value


def _check(btf: Btf, known: t.Member, member: Member) -> None:
    """The kernel's member must be as large as the object's, and of its kind."""
    found = btf[btf.resolve(known.type)]
    is_pointer = isinstance(found, t.Ptr)
    if known.bitfield_size or member.is_function != (
        isinstance(found, t.Ptr) and isinstance(btf[btf.resolve(found.type)], t.FuncProto)
    ):
        raise NotSupported("it is of another kind in this kernel")
    size = POINTER_SIZE if is_pointer else btf.size_of(known.type)
    if size != len(member.value):
        raise NotSupported(f"it has {size} bytes in this kernel, {len(member.value)} in the object")
    if is_pointer and not member.is_function:
        raise NotSupported("pointers to data cannot be handed to the kernel")
