"""Parsing ``SEC()`` names: the ELF sections of programs.

The name is parsed only here; everything else uses `SectionSpec`.
"""

from __future__ import annotations

from typing import NamedTuple

from lskel.bpf.enums import AttachType, ProgType
from lskel.catalog.attach_kinds import BY_NAME, AttachKindRow, BtfTarget


class SectionSpec(NamedTuple):
    """Properties of programs by their section name.

    `name`: the section's name without a leading ``?``.
    `autoload`: False if the name starts with ``?``.
    `kind`: the name of the matching row of `ATTACH_KINDS`; empty if none matches.
    `prog_type`: UNSPEC if no row matches.
    `attach_type`: the expected attach type; None if there is none (the kernel gets 0). For
    ``usdt`` libbpf uses TRACE_UPROBE_MULTI if the kernel has such links (6.6).
    `sleepable`, `xdp_frags`: whether BPF_F_SLEEPABLE, BPF_F_XDP_HAS_FRAGS go to the kernel.
    `target`: what follows ``kind/``, such as ``sched/sched_switch``; may be empty.
    `btf_target`: how to find `target` in BTF; None if loading needs no BTF id.
    """

    name: str
    autoload: bool
    kind: str
    prog_type: ProgType
    attach_type: AttachType | None
    sleepable: bool
    xdp_frags: bool
    target: str
    btf_target: BtfTarget | None


_UNKNOWN = AttachKindRow("", ProgType.UNSPEC)


def _match(name: str) -> tuple[AttachKindRow, str]:
    """The row for a section name without ``?``, and its target."""
    if (exact := BY_NAME.get(name)) is not None:
        return exact, ""
    prefix, _, target = name.partition("/")
    kind = BY_NAME.get(prefix, _UNKNOWN)
    return (kind, target) if kind.takes_target else (_UNKNOWN, "")


def parse_section(name: str) -> SectionSpec:
    """Parse the name of a program section, such as ``?tp/sched/sched_switch``.

    Never fails: an unknown name has type UNSPEC, and the caller may set the type.
    """
    bare = name.removeprefix("?")
    kind, target = _match(bare)
    return SectionSpec(
        name=bare,
        autoload=bare == name,
        kind=kind.name,
        prog_type=kind.prog_type,
        attach_type=kind.attach_type,
        sleepable=kind.sleepable,
        xdp_frags=kind.xdp_frags,
        target=target,
        btf_target=kind.btf_target,
    )
