"""Pinning what is loaded, so that it outlives the process."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from pathlib import Path

from lskel.errors import UsageError, at
from lskel.replay.loaded import Loaded
from lskel.runtime.objects import obj_pin
from lskel.runtime.syscall import BpfError


def pin_name(name: str) -> str:
    """The file's name for a map or program: bpffs takes no dots."""
    return name.replace(".", "_")


def pin_all(loaded: Loaded, directory: Path) -> tuple[Path, ...]:
    """Pin all maps and programs as DIRECTORY/NAME; all of them, or none.

    Makes the directory where it is missing. UsageError where it is not on a bpffs, or a name is
    taken.
    """
    fds = {name: made.fd for name, made in loaded.maps.items()}
    fds |= {name: program.fd for name, program in loaded.programs.items()}
    paths = []
    with at(str(directory)), ExitStack() as undo:
        if not directory.exists():
            try:
                directory.mkdir(parents=True)
            except OSError as error:
                raise UsageError(f"cannot be made: {error.strerror}") from error
            undo.callback(directory.rmdir)
        for name, fd in fds.items():
            path = directory / pin_name(name)
            try:
                obj_pin(fd.fileno(), path)
            except BpfError as error:
                raise UsageError(
                    f"cannot pin '{name}': {error.strerror}", hint=_hint(error)
                ) from error
            undo.callback(path.unlink)
            paths.append(path)
        undo.pop_all()
    return tuple(paths)


def _hint(error: BpfError) -> str:
    if error.errno == errno.EEXIST:
        return "remove the old pin, or choose another directory"
    if error.errno == errno.EPERM:
        return "the directory must be on a bpffs: mount -t bpf bpf /sys/fs/bpf"
    return ""
