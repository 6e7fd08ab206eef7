"""Programs without a type: the error that lists them, with the options that set their types."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from lskel.bpf.enums import AttachType, ProgType
from lskel.bpf.names import enum_name
from lskel.catalog.attach_kinds import ATTACH_KINDS
from lskel.errors import NotSupported
from lskel.object.model import ProgramSpec

_MANY = 16


def is_untyped(program: ProgramSpec) -> bool:
    """Whether the program has no type."""
    return program.spec.prog_type == ProgType.UNSPEC


def untyped(programs: Iterable[ProgramSpec]) -> NotSupported:
    """The error for these programs, with the options that set all their types."""
    some = list(programs)
    if len(some) == 1:
        section = some[0].spec.name
        what = f"program '{some[0].name}': section name '{section}' has no known program type"
        sections = {some[0].name: section}
    else:
        names = [f"'{program.name}' ({program.spec.name})" for program in some]
        listed = ", ".join([*names[:_MANY], *["..."][: len(names) > _MANY]])
        what = f"{len(some)} programs have section names with no known program type: {listed}"
        sections = {_pattern(program.spec.name): program.spec.name for program in some}
    options = " ".join(_option(pattern, section) for pattern, section in sections.items())
    return NotSupported(
        what,
        hint=f'set the type: {options}, or use a name that libbpf 1.8 knows, such as SEC("xdp")',
    )


def _pattern(section: str) -> str:
    """A pattern for a section and those of its kind."""
    stem, slash, _ = section.partition("/")
    return f"{stem}/*" if stem and slash else section


def _option(pattern: str, section: str) -> str:
    """What to say of a pattern, with the type that other loaders take the section's name for.

    That is the type of the longest name of libbpf with which it begins: cilium/ebpf and iproute2
    have ``classifier/x``, ``socket/x`` and ``xdp_x``, libbpf before 1.0 ``xdp1``.
    """
    rows = [row for row in ATTACH_KINDS if not row.btf_target and _begins(section, row.name)]
    if not rows:
        return f"--type {shlex.quote(pattern)}=TYPE[:ATTACH]"
    row = max(rows, key=lambda row: len(row.name))
    type_ = enum_name(ProgType, row.prog_type)
    if row.attach_type is not None:
        type_ += f":{enum_name(AttachType, row.attach_type)}"
    return f"--type {shlex.quote(f'{pattern}={type_}')}"


def _begins(section: str, name: str) -> bool:
    rest = section[len(name) : len(name) + 1]
    return section.startswith(name) and not rest.isalpha()
