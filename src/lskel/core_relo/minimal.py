"""The part of a kernel's BTF that relocations need: the same values come out of it.

As `bpftool gen min_core_btf`. A struct has only the members that are accessed, and pointers point
to void; types of modules are taken in, so that one BTF is enough. Only type ids differ.
"""

from __future__ import annotations

from collections.abc import Iterable

from lskel.btf import types as t
from lskel.btf.btf import MAX_DEPTH, Btf
from lskel.btf.build import BtfBuilder
from lskel.btf.kinds import Kind
from lskel.btf.types import VOID, Type, TypeId
from lskel.core_relo.access import Access, AccessStep
from lskel.core_relo.records import CoreKind
from lskel.cursor import ByteOrder
from lskel.errors import BadObject

_KIND_FLAG = 1 << 31


class MinimalBtf:
    """Collects what accesses need; `raw` writes it. BadObject for hostile BTF."""

    def __init__(self, order: ByteOrder) -> None:
        self._order = order
        # The types by BTF and id, with the numbers of the members or enumerators that are needed.
        self._needed: dict[tuple[int, TypeId], set[int]] = {}
        self._btfs: dict[int, Btf] = {}
        self._shapes: set[tuple[int, TypeId]] = set()
        # The last says whether a pointer led there.
        self._contents: set[tuple[int, TypeId, bool]] = set()

    def add(self, kind: CoreKind, targets: Iterable[Access]) -> None:
        """The needs of a relocation that these types of the kernel answer."""
        for access in targets:
            if kind is CoreKind.TYPE_MATCHES:
                self._add_contents(access.btf, access.root)
            elif not access.steps:
                self._add_shape(access.btf, access.root)
            else:
                self._add_chain(access.btf, access.root)
                for step in access.steps:
                    needed = self._add_chain(access.btf, step.type)
                    if step.name:
                        self._add_member(access.btf, step, needed)
                for step in access.inside:
                    self._add_member(access.btf, step, self._need(access.btf, step.type))

    def _add_member(self, btf: Btf, step: AccessStep, needed: set[int]) -> None:
        needed.add(step.number)
        found = btf[step.type]
        if isinstance(found, t.CompositeType):
            self._add_chain(btf, found.members[step.number].type)

    def _need(self, btf: Btf, type_id: TypeId) -> set[int]:
        btf = _owner(btf, type_id)
        self._btfs[id(btf)] = btf
        return self._needed.setdefault((id(btf), type_id), set())

    def _add_chain(self, btf: Btf, type_id: TypeId) -> set[int]:
        """A type, and what it is without typedefs, modifiers and dimensions; the needs of that."""
        for _ in range(MAX_DEPTH):
            needed = self._need(btf, type_id)
            found = btf[type_id]
            if isinstance(found, t.ArrayType):
                self._need(btf, found.index_type)
            elif not isinstance(found, _CHAIN):
                return needed
            type_id = found.type
        raise BadObject(f"BTF: type [{type_id}] is a chain of more than {MAX_DEPTH} types")

    def _add_shape(self, btf: Btf, type_id: TypeId) -> None:
        """What decides whether another type is compatible: pointers are followed."""
        todo = [type_id]
        while todo:
            type_id = todo.pop()
            if (id(btf), type_id) in self._shapes:
                continue
            self._shapes.add((id(btf), type_id))
            self._add_chain(btf, type_id)
            todo += _pointed_to(btf, btf.element(type_id))

    def _add_contents(self, btf: Btf, type_id: TypeId) -> None:
        """What decides whether another type matches: members too, but for those behind pointers."""
        todo = [(type_id, False)]
        while todo:
            type_id, is_pointed_to = todo.pop()
            key = (id(btf), type_id, is_pointed_to)
            if key in self._contents:
                continue
            self._contents.add(key)
            needed = self._add_chain(btf, type_id)
            element = btf.element(type_id)
            found = btf[element]
            if isinstance(found, t.Enum):
                needed |= set(range(len(found.values)))
            elif isinstance(found, t.CompositeType):
                if not is_pointed_to:
                    needed |= set(range(len(found.members)))
                    todo += [(member.type, False) for member in found.members]
            elif not is_pointed_to or isinstance(found, t.FuncProto):
                todo += [(inner, True) for inner in _pointed_to(btf, element)]

    def raw(self) -> bytes:
        """The BTF; types keep their order."""
        order = {key: number for number, key in enumerate(self._btfs)}
        keys = sorted(self._needed, key=lambda key: (order[key[0]], key[1]))
        keys = [key for key in keys if key[1] != VOID]
        self._ids = {key: TypeId(number) for number, key in enumerate(keys, 1)}
        builder = BtfBuilder(self._order)
        for key in keys:
            btf = self._btfs[key[0]]
            self._write(builder, btf, btf[key[1]], sorted(self._needed[key]))
        return builder.raw()

    def _id(self, btf: Btf, type_id: TypeId) -> TypeId:
        """The new id of a type; void for one that is not needed."""
        btf = _owner(btf, type_id)
        return self._ids.get((id(btf), type_id), VOID)

    def _write(self, builder: BtfBuilder, btf: Btf, found: Type, needed: list[int]) -> None:
        vlen, size_or_type, words = 0, 0, []
        if isinstance(found, t.CompositeType):
            members = [found.members[number] for number in needed]
            has_bitfields = any(member.bitfield_size for member in found.members)
            vlen, size_or_type = len(members) | has_bitfields * _KIND_FLAG, found.size
            for member in members:
                offset = member.bitfield_size << 24 | member.bit_offset
                words += [builder.string(member.name), self._id(btf, member.type), offset]
        elif isinstance(found, t.Enum):
            vlen, size_or_type = len(needed) | found.signed * _KIND_FLAG, found.size
            for name, value in (found.values[number] for number in needed):
                halves = [value & 0xFFFFFFFF]
                if isinstance(found, t.Enum64):
                    halves.append(value >> 32 & 0xFFFFFFFF)
                words += [builder.string(name), *halves]
        elif isinstance(found, t.FuncProto):
            vlen, size_or_type = len(found.params), self._id(btf, found.type)
            for param in found.params:
                words += [builder.string(param.name), self._id(btf, param.type)]
        elif isinstance(found, t.ArrayType):
            words = [self._id(btf, found.type), self._id(btf, found.index_type), found.nelems]
        elif isinstance(found, t.Int):
            size_or_type = found.size
            words = [found.encoding << 24 | found.offset << 16 | found.bits]
        elif isinstance(found, t.Float):
            size_or_type = found.size
        elif isinstance(found, t.Fwd):
            vlen = found.is_union * _KIND_FLAG
        elif isinstance(found, (t.Ptr, *_CHAIN)):
            size_or_type = self._id(btf, found.type)
        else:
            raise BadObject(f"BTF: {found.kind.name} '{found.name}' in the type of a relocation")
        builder.add(Kind(found.kind), found.name, vlen, size_or_type, *words)


_CHAIN = (*t.MODIFIERS, t.Typedef)


def _owner(btf: Btf, type_id: TypeId) -> Btf:
    """The BTF that has a type: split BTF, or its base."""
    while type_id < btf.first_id and btf.base is not None:
        btf = btf.base
    return btf


def _pointed_to(btf: Btf, type_id: TypeId) -> list[TypeId]:
    """The types that a pointer or a function refers to."""
    found = btf[type_id]
    if isinstance(found, t.Ptr):
        return [found.type]
    if isinstance(found, t.FuncProto):
        return [found.type, *(param.type for param in found.params)]
    return []
