"""Access paths: what a relocation names in the object's BTF, and where a kernel type has it."""

from __future__ import annotations

from typing import NamedTuple

from lskel import budget
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.compatible import TypeComparison
from lskel.btf.names import essential_name
from lskel.btf.types import TypeId
from lskel.core_relo.records import MAX_STEPS, OF_ENUMERATORS, OF_TYPES, CoreKind, CoreQuestion
from lskel.core_relo.records import indexes as read_indexes
from lskel.errors import BadObject


class AccessStep(NamedTuple):
    """One step: member `number` of struct `type`, named `name`; or element `number`, of `type`.

    Members of anonymous structs are steps of the struct that has them; enumerators are members.
    """

    type: TypeId
    number: int
    name: str = ""


class Access(NamedTuple):
    """What a path leads to in `btf`: no steps for a type itself; `bit_offset` from its start.

    `inside` are the anonymous members on the way in a kernel type, which are no steps.
    """

    btf: Btf
    root: TypeId
    steps: tuple[AccessStep, ...] = ()
    bit_offset: int = 0
    inside: tuple[AccessStep, ...] = ()


def local_access(btf: Btf, question: CoreQuestion) -> Access:
    """What the relocation names in the object's BTF. BadObject if there is no such thing."""
    if question.kind in OF_TYPES:
        if question.access != "0":
            raise BadObject(f"access path of a type is '{question.access}', expected '0'")
        return Access(btf, question.type)
    numbers = read_indexes(question.access)
    root = btf.resolve(question.type)
    if question.kind in OF_ENUMERATORS:
        found = btf.get(root, t.Enum)
        if len(numbers) > 1 or numbers[0] >= len(found.values):
            raise BadObject(f"access path '{question.access}' is not an enumerator's index")
        step = AccessStep(root, numbers[0], found.values[numbers[0]][0])
        return Access(btf, question.type, (step,))
    steps = [AccessStep(root, numbers[0])]
    bit_offset = numbers[0] * btf.size_of(root) * 8
    type_id = root
    for number in numbers[1:]:
        type_id = btf.resolve(type_id)
        holder = btf[type_id]
        if isinstance(holder, t.CompositeType):
            if number >= len(holder.members):
                raise BadObject(f"'{holder.name}' has no member {number}")
            member = holder.members[number]
            bit_offset += member.bit_offset
            if member.name:
                steps.append(AccessStep(type_id, number, member.name))
            type_id = member.type
        elif isinstance(holder, t.ArrayType):
            if not _has_element(btf, steps[-1], holder, number):
                raise BadObject(f"array of {holder.nelems} elements has no element {number}")
            type_id = btf.resolve(holder.type)
            steps.append(AccessStep(type_id, number))
            bit_offset += number * btf.size_of(type_id) * 8
        else:
            raise BadObject(f"{holder.kind.name} '{holder.name}' has no members or elements")
    return Access(btf, question.type, tuple(steps), bit_offset)


def target_access(
    local: Access, kind: CoreKind, btf: Btf, root: TypeId, comparison: TypeComparison
) -> Access | None:
    """The same in a candidate type; None if it does not have it. BadObject for hostile BTF."""
    if kind is CoreKind.TYPE_MATCHES:
        return Access(btf, root) if comparison.types_match(local.root, root) else None
    if kind in OF_TYPES:
        return Access(btf, root) if comparison.types_compatible(local.root, root) else None
    if kind in OF_ENUMERATORS:
        return _enumerator(local.steps[0], btf, root, comparison.work)
    steps: list[AccessStep] = []
    inside: list[AccessStep] = []
    bit_offset = depth = 0
    type_id = root
    for wanted in local.steps:
        type_id = btf.resolve(type_id)
        if wanted.name:
            search = _MemberSearch(local.btf, wanted, btf, comparison)
            found = search.find(type_id, depth)
            if found is None:
                return None
            steps.append(found.step)
            inside += found.inside
            bit_offset += found.bit_offset
            depth = found.depth
            type_id = found.type
            continue
        if steps:
            array = btf[type_id]
            if not isinstance(array, t.ArrayType) or not _has_element(
                btf, steps[-1], array, wanted.number
            ):
                return None
            type_id = btf.resolve(array.type)
        depth = _deeper(depth)
        steps.append(AccessStep(type_id, wanted.number))
        bit_offset += wanted.number * btf.size_of(type_id) * 8
    return Access(btf, root, tuple(steps), bit_offset, tuple(inside))


def _has_element(btf: Btf, before: AccessStep, array: t.ArrayType, index: int) -> bool:
    """A flexible array, the last member of its struct, has any number of elements."""
    if index < array.nelems:
        return True
    if not before.name or array.nelems:
        return False
    holder = btf.get(before.type, t.CompositeType)
    return before.number == len(holder.members) - 1


def _enumerator(
    wanted: AccessStep, btf: Btf, root: TypeId, work: budget.Allowance
) -> Access | None:
    type_id = btf.resolve(root)
    found = btf[type_id]
    if not isinstance(found, t.Enum):
        return None
    work.spend(len(found.values))
    name = essential_name(wanted.name)
    for index, (candidate, _value) in enumerate(found.values):
        if essential_name(candidate) == name:
            return Access(btf, root, (AccessStep(type_id, index, candidate),))
    return None


class _Found(NamedTuple):
    step: AccessStep
    type: TypeId
    bit_offset: int
    depth: int
    inside: tuple[AccessStep, ...] = ()


class _MemberSearch:
    """The search for a member of the object's struct in one of the kernel's."""

    def __init__(
        self, local: Btf, wanted: AccessStep, btf: Btf, comparison: TypeComparison
    ) -> None:
        self._name = wanted.name
        self._type = local.get(wanted.type, t.CompositeType).members[wanted.number].type
        self._btf = btf
        self._comparison = comparison
        self._without: set[TypeId] = set()

    def find(self, type_id: TypeId, depth: int) -> _Found | None:
        """The member of this name, also in anonymous structs, if its type is compatible."""
        type_id = self._btf.resolve(type_id)
        holder = self._btf[type_id]
        if type_id in self._without or not isinstance(holder, t.CompositeType):
            return None
        depth = _deeper(depth)
        self._comparison.work.spend(len(holder.members))
        for number, member in enumerate(holder.members):
            if not member.name:
                found = self.find(member.type, depth)
                if found is not None:
                    return found._replace(
                        bit_offset=found.bit_offset + member.bit_offset,
                        inside=(AccessStep(type_id, number), *found.inside),
                    )
            elif member.name == self._name:
                if not self._comparison.fields_compatible(self._type, member.type):
                    break
                step = AccessStep(type_id, number, member.name)
                return _Found(step, member.type, member.bit_offset, depth)
        self._without.add(type_id)
        return None


def _deeper(depth: int) -> int:
    if depth == MAX_STEPS:
        raise BadObject(f"BTF: an access path has more than {MAX_STEPS} steps")
    return depth + 1
