"""struct_ops values in the layout of the target's kernel.

The object's struct may differ from the kernel's: members are matched by name. A member that the
kernel lacks must be 0; members that the object lacks stay 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from lskel.bpf.struct_ops import DATA_MEMBER, VALUE_PREFIX, Member, StructOps
from lskel.btf import types as t
from lskel.btf.btf import POINTER_SIZE, Btf
from lskel.errors import NotSupported, at


class KernelStruct(NamedTuple):
    """A struct of the kernel, and the BTF that has it: vmlinux or a module."""

    btf: Btf
    struct: t.StructType


class Kernel(Protocol):
    """A kernel's types."""

    def struct(self, name: str) -> KernelStruct | None:
        """The struct of this name, in vmlinux or else in a module."""


def type_size(kernel: Kernel, type_: str) -> int:
    """Size of the kernel's struct in bytes; NotSupported if it does not exist."""
    return _struct(kernel, type_).struct.size


def member_index(kernel: Kernel, type_: str, member: str) -> int:
    """Index of a member of the kernel's struct; NotSupported if it does not exist."""
    for number, found in enumerate(_struct(kernel, type_).struct.members):
        if found.name == member:
            return number
    raise NotSupported(
        f"this kernel's struct {type_} has no member '{member}'",
        hint="disable autoload of its program: --no-autoload PROGRAM",
    )


def value(kernel: Kernel, ops: StructOps, programs: Mapping[str, int]) -> bytes:
    """The value of element 0, which registers `ops`; `programs` are the fds of loaded programs.

    NotSupported if a member does not match the kernel's.
    """
    outer = _struct(kernel, VALUE_PREFIX + ops.type)
    data = next((m for m in outer.struct.members if m.name == DATA_MEMBER), None)
    if data is None:
        raise NotSupported(f"this kernel's struct {VALUE_PREFIX}{ops.type} has no member 'data'")
    btf = outer.btf
    inner = btf.get(btf.resolve(data.type), t.StructType)
    # Anonymous members all match the first one, as with libbpf.
    members = {member.name: member for member in reversed(inner.members)}
    content = bytearray(outer.struct.size)
    for member in ops.members:
        with at(f"struct {ops.type}", f"member '{member.name}'"):
            filled = _member_value(member, programs, btf)
            if not any(filled):
                continue
            known = members.get(member.name)
            if known is None:
                raise NotSupported("this kernel's struct does not have it, and it is not 0")
            _check(btf, known, member)
            start = (data.bit_offset + known.bit_offset) // 8
            content[start : start + len(filled)] = filled
    return bytes(content)


def _struct(kernel: Kernel, name: str) -> KernelStruct:
    found = kernel.struct(name)
    if found is None:
        raise NotSupported(
            f"this kernel has no struct {name}",
            hint="the kernel does not support these struct_ops, or their module is not loaded",
        )
    return found


def _member_value(member: Member, programs: Mapping[str, int], btf: Btf) -> bytes:
    if member.is_function:
        fd = programs.get(member.program, 0) if member.program is not None else 0
        return fd.to_bytes(POINTER_SIZE, btf.order)
    return member.value


def _check(btf: Btf, known: t.BtfMember, member: Member) -> None:
    """The kernel's member must have the size and kind of the object's."""
    found = btf[btf.resolve(known.type)]
    is_pointer = isinstance(found, t.Ptr)
    if known.bitfield_size or member.is_function != (
        isinstance(found, t.Ptr) and isinstance(btf[btf.resolve(found.type)], t.FuncProto)
    ):
        raise NotSupported("its kind differs in this kernel")
    size = POINTER_SIZE if is_pointer else btf.size_of(known.type)
    if size != len(member.value):
        raise NotSupported(f"{size} bytes in this kernel, {len(member.value)} in the object")
    if is_pointer and not member.is_function:
        raise NotSupported("data pointers cannot be passed to the kernel")
