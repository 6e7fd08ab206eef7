"""Pinning what is loaded, so that it outlives the process."""

from __future__ import annotations

from pathlib import Path

from lskel.replay.loaded import Loaded
from lskel.runtime.pins import NEW_PIN, pin_fds


def pin_all(loaded: Loaded, directory: Path, *, trust_pins: bool = False) -> tuple[Path, ...]:
    """Pin all maps and programs as DIRECTORY/NAME; all of them, or none.

    Makes the directory where it is missing. UsageError where it is not on a bpffs, or a name is
    taken; where others can write to it, unless `trust_pins`.
    """
    fds = {name: made.fd.fileno() for name, made in loaded.maps.items()}
    fds |= {name: program.fd.fileno() for name, program in loaded.programs.items()}
    return tuple(map(Path, pin_fds(fds, str(directory), NEW_PIN, trust_pins=trust_pins)))
