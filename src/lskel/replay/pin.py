"""Pinning what is loaded, so that it outlives the process."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from lskel.replay.loaded import Loaded
from lskel.runtime.pins import NEW_PIN, make_directory, pin_fds


def pin_all(loaded: Loaded, directory: Path) -> tuple[Path, ...]:
    """Pin all maps and programs as DIRECTORY/NAME; all of them, or none.

    Makes the directory where it is missing. UsageError where it is not on a bpffs, or a name is
    taken.
    """
    fds = {name: made.fd.fileno() for name, made in loaded.maps.items()}
    fds |= {name: program.fd.fileno() for name, program in loaded.programs.items()}
    with ExitStack() as undo:
        make_directory(str(directory), undo)
        paths = pin_fds(fds, str(directory), NEW_PIN)
        undo.pop_all()
    return tuple(map(Path, paths))
