"""What an object says of a struct_ops variable: a table of functions that the kernel calls."""

from __future__ import annotations

from lskel.errors import NotFound, UsageError, at
from lskel.named import NamedTuple

# The kernel's map value of `struct X` is `struct bpf_struct_ops_X`, which has it as member `data`
# (include/linux/bpf.h, kernel/bpf/bpf_struct_ops.c).
VALUE_PREFIX = "bpf_struct_ops_"
DATA_MEMBER = "data"


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

    def member(self, name: str) -> Member:
        """The member of this name; NotFound names the ones there are."""
        for member in self.members:
            if member.name == name:
                return member
        known = ", ".join(member.name for member in self.members) or "none"
        raise NotFound(f"struct {self.type} has no member '{name}'", hint=f"there is: {known}")

    def with_value(self, name: str, value: bytes) -> StructOps:
        """A copy in which a member has another value, in the target's byte order.

        UsageError where it is a pointer to a function, or has not as many bytes.
        """
        old = self.member(name)
        with at(f"struct {self.type}", f"member '{name}'"):
            if old.is_function:
                raise UsageError("it points to a function", hint="name a program: with_program()")
            if len(value) != len(old.value):
                raise UsageError(f"it has {len(old.value)} bytes, not {len(value)}")
        return self._swap(old, old._replace(value=value))

    def with_program(self, name: str, program: str | None) -> StructOps:
        """A copy in which a function pointer names another program, or None.

        UsageError where the member is something else.
        """
        old = self.member(name)
        if not old.is_function:
            raise UsageError(
                f"struct {self.type}: member '{name}': it does not point to a function",
                hint="change its value: with_value()",
            )
        return self._swap(old, old._replace(program=program))

    def _swap(self, old: Member, new: Member) -> StructOps:
        members = tuple(new if member is old else member for member in self.members)
        return self._replace(members=members)
