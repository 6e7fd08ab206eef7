"""What the name of a program's ELF section says: the ``SEC()`` names.

The name is read once, here; everything later looks at the fields of `SectionSpec`.
"""

from __future__ import annotations

from typing import NamedTuple

from lskel.bpf.enums import AttachType, ProgType
from lskel.catalog.attach_kinds import BY_NAME, AttachKindRow, BtfTarget


class SectionSpec(NamedTuple):
    """What a section name says of the programs in the section.

    `name`: the section's name without a leading ``?``.
    `autoload`: False where the name starts with ``?``.
    `kind`: the name of the matching row of `ATTACH_KINDS`; empty where none matches.
    `prog_type`: UNSPEC where no row matches.
    `attach_type`: the expected attach type; None where the name gives none (the kernel gets 0). For
    ``usdt`` libbpf makes it TRACE_UPROBE_MULTI where the kernel has such links (6.6).
    `sleepable`, `xdp_frags`: whether BPF_F_SLEEPABLE, BPF_F_XDP_HAS_FRAGS go to the kernel.
    `target`: what follows ``kind/``, such as ``sched/sched_switch``; empty where there is nothing.
    `btf_target`: how to find `target` in BTF; None where the kernel needs no BTF id to load it.
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
    """The row for a section name without ``?``, and the target in it."""
    if (exact := BY_NAME.get(name)) is not None:
        return exact, ""
    prefix, _, target = name.partition("/")
    kind = BY_NAME.get(prefix, _UNKNOWN)
    return (kind, target) if kind.takes_target else (_UNKNOWN, "")


def parse_section(name: str) -> SectionSpec:
    """Read the name of a section that holds programs, such as ``?tp/sched/sched_switch``.

    Never fails: an unknown name gives a spec of type UNSPEC and leaves the type to the caller.
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
