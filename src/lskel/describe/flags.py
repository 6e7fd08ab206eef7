"""Names of map flags."""

from __future__ import annotations

from lskel.bpf.flags import MapFlag

MAP_FLAGS = {value: name.lower() for name, value in vars(MapFlag).items() if name.isupper()}


def map_flags(flags: int) -> tuple[str, ...]:
    """The names of the set bits (BPF_F_..., in lower case), and unknown bits as one number."""
    names = tuple(name for bit, name in MAP_FLAGS.items() if flags & bit)
    rest = flags & ~sum(MAP_FLAGS)
    return (*names, f"{rest:#x}") if rest else names
