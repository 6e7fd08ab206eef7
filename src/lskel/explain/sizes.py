"""Sizes: the blob and the ELF file, divided by kind, owner and section."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from lskel.describe.summary import MapSummary, ProgramSummary, SectionSummary
from lskel.explain.report import BlobRegion, Op, SizeNode, SizeView


class _Owner(NamedTuple):
    """The owner of bytes."""

    name: str
    map: int | None = None
    program: int | None = None


_LOADER = _Owner("loader")
_SHARED = _Owner("shared")
_BTF = _Owner("BTF")
_PADDING = _Owner("padding")


def explain_sizes(
    regions: tuple[BlobRegion, ...],
    ops: tuple[Op, ...],
    maps: tuple[MapSummary, ...],
    programs: tuple[ProgramSummary, ...],
    sections: tuple[SectionSummary, ...],
) -> Iterator[SizeView]:
    """All views for which data is available."""
    owners = _Owners(ops, maps, programs)
    owned = [(number, region, owners.of(region)) for number, region in enumerate(regions)]
    if regions:
        yield SizeView("by kind", _tree(owned, lambda item: (item[1].kind, item[2])))
        yield SizeView("by owner", _tree(owned, lambda item: (item[2], item[1].kind)))
    if sections:
        leaves = (_node(_Owner(section.name), section.size) for section in sections)
        yield SizeView("sections", _parent(_Owner("sections"), leaves))


class _Owners:
    """Finds the owner of a region."""

    def __init__(
        self,
        ops: tuple[Op, ...],
        maps: tuple[MapSummary, ...],
        programs: tuple[ProgramSummary, ...],
    ) -> None:
        self._maps = maps
        self._programs = programs
        self._ops = ops
        self._of_ops = [self._of_op(op) for op in ops]

    def _of_op(self, op: Op) -> _Owner:
        if op.map is not None:
            return _Owner(f"map {self._maps[op.map].name}", map=op.map)
        if op.program is not None:
            return _Owner(f"program {self._programs[op.program].name}", program=op.program)
        if op.makes == "btf":
            return _BTF
        closed = [self._ops[use.op] for use in op.uses if use.role == "closes"]
        if closed:
            return self._of_op(closed[0])
        users = (self._ops[user] for user in op.used_by)
        return self._only(self._of_op(user) for user in users if user.makes)

    def of(self, region: BlobRegion) -> _Owner:
        if region.kind == "padding":
            return _PADDING
        return self._only(self._of_ops[use.op] for use in region.uses)

    def _only(self, owners: Iterable[_Owner]) -> _Owner:
        """The only owner, or none in particular."""
        distinct = list(dict.fromkeys(owners))
        if len(distinct) == 1:
            return distinct[0]
        return _SHARED if distinct else _LOADER


_Item = tuple[int, BlobRegion, _Owner]
_Key = str | _Owner


def _tree(items: list[_Item], keys: Callable[[_Item], tuple[_Key, _Key]]) -> SizeNode:
    """Two levels below the root, largest first."""
    groups: dict[_Key, dict[_Key, list[_Item]]] = {}
    for item in items:
        outer, inner = keys(item)
        groups.setdefault(outer, {}).setdefault(inner, []).append(item)
    return _parent(
        _Owner("blob"),
        (
            _parent(outer, (_leaf(inner, outer, found) for inner, found in group.items()))
            for outer, group in groups.items()
        ),
    )


def _leaf(key: _Key, outer: _Key, items: list[_Item]) -> SizeNode:
    size = sum(region.size for _, region, _ in items)
    kind = next(part for part in (key, outer) if isinstance(part, str))
    return _node(key, size)._replace(kind=kind, regions=tuple(number for number, _, _ in items))


def _parent(key: _Key, children: Iterable[SizeNode]) -> SizeNode:
    ordered = tuple(sorted(children, key=lambda node: (-node.size, node.name)))
    return _node(key, sum(child.size for child in ordered))._replace(children=ordered)


def _node(key: _Key, size: int) -> SizeNode:
    """A box without children; a string key is a kind of content."""
    owner = key if isinstance(key, _Owner) else _Owner(key)
    kind = key if isinstance(key, str) else ""
    return SizeNode(owner.name, kind, size, (), owner.map, owner.program, ())
