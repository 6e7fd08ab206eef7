"""struct_ops variables as an object declares them: structs of function pointers."""

from __future__ import annotations

from lskel.errors import NotFound, UsageError, at
from lskel.light_typing import NamedTuple

# The map value of `struct X` is the kernel's `struct bpf_struct_ops_X`, with `struct X` as member
# `data` (include/linux/bpf.h, kernel/bpf/bpf_struct_ops.c).
VALUE_PREFIX = "bpf_struct_ops_"
DATA_MEMBER = "data"


class Member(NamedTuple):
    """A member of the object's struct.

    `value` is its initial value, in target byte order. `is_function`: it is a function pointer;
    then `program` is the program, or None.
    """

    name: str
    value: bytes
    is_function: bool
    program: str | None


class StructOps(NamedTuple):
    """A struct_ops variable, as the object declares it.

    `type` is the name of the kernel struct, without a ``___flavor``. The kernel may have other
    members, in another order: members are matched by name.
    """

    type: str
    members: tuple[Member, ...]

    def member(self, name: str) -> Member:
        """The member of this name; NotFound lists the available ones."""
        for member in self.members:
            if member.name == name:
                return member
        known = ", ".join(member.name for member in self.members) or "none"
        raise NotFound(f"struct {self.type} has no member '{name}'", hint=f"available: {known}")

    def with_value(self, name: str, value: bytes) -> StructOps:
        """A copy with another value of a member, in target byte order.

        UsageError if it is a function pointer, or has another size.
        """
        old = self.member(name)
        with at(f"struct {self.type}", f"member '{name}'"):
            if old.is_function:
                raise UsageError("it is a function pointer", hint="set a program: with_program()")
            if len(value) != len(old.value):
                raise UsageError(f"expected {len(old.value)} bytes, got {len(value)}")
        return self._swap(old, old._replace(value=value))

    def with_program(self, name: str, program: str | None) -> StructOps:
        """A copy with another program, or None, for a function pointer.

        UsageError if the member is not a function pointer.
        """
        old = self.member(name)
        if not old.is_function:
            raise UsageError(
                f"struct {self.type}: member '{name}': it is not a function pointer",
                hint="set its value: with_value()",
            )
        return self._swap(old, old._replace(program=program))

    def _swap(self, old: Member, new: Member) -> StructOps:
        members = tuple(new if member is old else member for member in self.members)
        return self._replace(members=members)
