"""What an object says of a struct_ops variable: a table of functions that the kernel calls."""

from __future__ import annotations

from typing import NamedTuple

# The kernel's map value of `struct X` is `struct bpf_struct_ops_X`, which has it as member `data`
# (include/linux/bpf.h, kernel/bpf/bpf_struct_ops.c).
VALUE_PREFIX = "bpf_struct_ops_"
DATA_MEMBER = "data"
# BPF_F_LINK (uapi/linux/bpf.h): registered by a link instead of the map's update. Linux 6.4.
F_LINK = 1 << 13


class Member(NamedTuple):
    """A member of the object's struct.

    `value` is its initial value, in the target's byte order. `is_function` says that it is a
    pointer to a function; then `program` is the program that it names, or None.
    """

    name: str
    value: bytes
    is_function: bool
    program: str | None


class StructOps(NamedTuple):
    """A struct_ops variable, as the object declares it.

    `type` is the kernel struct's name, without a ``___flavor``. The kernel that it is loaded on may
    have other members, in another order: they are matched by name there.
    """

    type: str
    members: tuple[Member, ...]
