"""Inputs of a loader: numbers known on the target only."""

from __future__ import annotations

from lskel.light_typing import Distinct


class TypeSize(Distinct):
    """Size of the kernel's struct `type` in bytes."""

    type: str


class MemberIndex(Distinct):
    """Index of a member in the kernel's struct `type`."""

    type: str
    member: str


class TypeMismatch(Distinct):
    """1 if the kernel's weak function `name` has another type than the object declares, else 0.

    For strong functions, and for variables, that is an error. `shape` is that of the declared type
    (`lskel.btf.shape`), which `declared` shows in C.
    """

    name: str
    is_function: bool
    is_weak: bool
    shape: str
    declared: str


class AttachFd(Distinct):
    """The fd of the program or BTF with the attach target of program `slot`."""

    slot: int


class AttachBtfId(Distinct):
    """The BTF id, in `AttachFd`, of the attach target of program `slot`."""

    slot: int
