"""Whether a type of the object and one of the kernel are the same for CO-RE.

Three relations, from loose to strict: a field may be read as another, a type may be used as
another (kfuncs and typed ksyms are held to that, too), and a type has all that the other has.

Source: tools/lib/bpf/relo_core.c of the kernel, which libbpf shares; BPF_CORE_TYPE_MATCHES is known
to the kernel from 6.0.
"""

from __future__ import annotations

from lskel import budget
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.names import essential_name
from lskel.btf.shape import Shapes
from lskel.btf.types import Type, TypeId
from lskel.errors import BadObject

# How deep types are compared; deeper ones are an error, as in the kernel and libbpf.
MAX_DEPTH = 32


def same_kind(local: Type, target: Type) -> bool:
    """Whether the kinds fit: the same, or both enums (of 32 or 64 bits)."""
    return local.kind == target.kind or (isinstance(local, t.Enum) and isinstance(target, t.Enum))


def same_name(local: str, target: str) -> bool:
    """Whether the names are the same without their flavors; two empty names are."""
    return essential_name(local) == essential_name(target)


class TypeComparison:
    """Compares types of an object (`local`) with those of a kernel (`target`).

    BadObject for fields and contents that are nested too deep. Pairs are compared once: otherwise
    hostile types could take exponential time. `work` is spent by a member, or a pair of them.
    """

    def __init__(self, local: Btf, target: Btf, work: budget.Allowance) -> None:
        self.work = work
        self._local = local
        self._target = target
        self._local_shapes = Shapes(local)
        self._target_shapes = Shapes(target)
        self._matches: dict[tuple[TypeId, TypeId, bool], bool] = {}

    def _types(self, local_id: TypeId, target_id: TypeId) -> tuple[Type, Type]:
        local, target = self._local, self._target
        return local[local.resolve(local_id)], target[target.resolve(target_id)]

    def fields_compatible(self, local_id: TypeId, target_id: TypeId) -> bool:
        """Whether a field of the kernel's type may be read where one of the object's is expected.

        Elements of arrays count, not their number; structs and unions may be any.
        """
        for _ in range(MAX_DEPTH):
            local, target = self._types(local_id, target_id)
            if isinstance(local, t.CompositeType) and isinstance(target, t.CompositeType):
                return True
            if not same_kind(local, target):
                return False
            if isinstance(local, t.ArrayType) and isinstance(target, t.ArrayType):
                local_id, target_id = local.type, target.type
                continue
            if isinstance(local, t.Int) and isinstance(target, t.Int):
                return _are_whole(local, target)
            if isinstance(local, t.Fwd | t.Enum):
                return not local.name or not target.name or same_name(local.name, target.name)
            return isinstance(local, t.Ptr | t.Float)
        raise _too_deep(local_id)

    def types_compatible(self, local_id: TypeId, target_id: TypeId) -> bool:
        """Whether the types have the same shape; the names of these two are not compared."""
        if not same_kind(self._local[local_id], self._target[target_id]):
            return False
        shape = self._local_shapes.of(local_id)
        return bool(shape) and shape == self._target_shapes.of(target_id)

    def types_match(
        self,
        local_id: TypeId,
        target_id: TypeId,
        level: int = MAX_DEPTH,
        *,
        is_pointed_to: bool = False,
    ) -> bool:
        """Whether the kernel's type has all that the object's has, by name, and of the same sizes.

        Structs and unions behind a pointer are compared by name only, and may be declarations.
        """
        self.work.spend()
        key = local_id, target_id, is_pointed_to
        if key not in self._matches:
            if level <= 0:
                raise _too_deep(local_id)
            self._matches[key] = self._compare_contents(*key, level)
        return self._matches[key]

    def _compare_contents(
        self, local_id: TypeId, target_id: TypeId, is_pointed_to: bool, level: int
    ) -> bool:
        for _ in range(MAX_DEPTH):
            local, target = self._types(local_id, target_id)
            if not same_name(local.name, target.name):
                return False
            if isinstance(local, t.Ptr) and isinstance(target, t.Ptr):
                is_pointed_to = True
            elif isinstance(local, t.ArrayType) and isinstance(target, t.ArrayType):
                if local.nelems != target.nelems:
                    return False
            elif isinstance(local, t.FuncProto) and isinstance(target, t.FuncProto):
                if len(local.params) != len(target.params) or not all(
                    self.types_match(one.type, other.type, level - 1, is_pointed_to=is_pointed_to)
                    for one, other in zip(local.params, target.params, strict=True)
                ):
                    return False
            elif is_pointed_to and isinstance(local, t.CompositeType | t.Fwd):
                return _declares_union(local) is _declares_union(target)
            elif isinstance(local, t.CompositeType) and isinstance(target, t.CompositeType):
                return local.kind == target.kind and self._has_members(local, target, level)
            else:
                return _scalars_match(local, target)
            local_id, target_id = local.type, target.type
        raise _too_deep(local_id)

    def _has_members(self, local: t.CompositeType, target: t.CompositeType, level: int) -> bool:
        self.work.spend(len(target.members))
        named: dict[str, list[TypeId]] = {}
        for other in target.members:
            named.setdefault(essential_name(other.name), []).append(other.type)
        return len(local.members) <= len(target.members) and all(
            any(
                self.types_match(member.type, other, level - 1)
                for other in named.get(essential_name(member.name), ())
            )
            for member in local.members
        )


def _are_whole(local: t.Int, target: t.Int) -> bool:
    """Integers of any size and sign fit, but for those that old compilers made of bit-fields."""
    return local.offset == 0 and target.offset == 0


def _declares_union(found: Type) -> bool | None:
    """Whether it is a union or a declaration of one; None if it is neither that nor a struct."""
    if isinstance(found, t.Fwd):
        return found.is_union
    return isinstance(found, t.UnionType) if isinstance(found, t.CompositeType) else None


def _scalars_match(local: Type, target: Type) -> bool:
    if isinstance(local, t.Int) and isinstance(target, t.Int):
        return local.size == target.size and local.signed == target.signed
    if isinstance(local, t.Enum) and isinstance(target, t.Enum):
        names = {essential_name(name) for name, _value in target.values}
        return (
            local.size == target.size
            and len(local.values) <= len(target.values)
            and all(essential_name(name) in names for name, _value in local.values)
        )
    if isinstance(local, t.Fwd) and isinstance(target, t.Fwd):
        return local.is_union == target.is_union
    return isinstance(local, t.Void) and isinstance(target, t.Void)


def _too_deep(type_id: TypeId) -> BadObject:
    return BadObject(f"BTF: type [{type_id}] is nested more than {MAX_DEPTH} levels deep")
