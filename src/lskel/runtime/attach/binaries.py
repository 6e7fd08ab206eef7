"""Programs and shared libraries by the names that they are started and linked with."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from lskel.errors import NotFound

_PROGRAM_DIRECTORIES = "/usr/local/sbin:/usr/sbin:/sbin"
_LIBRARY_PARENTS = ("/lib", "/usr/lib", "/usr/local/lib")


def find_binary(name: str | os.PathLike[str]) -> str:
    """The path of a library ("libc.so.6") or program ("bash"); what has a slash is a path already.

    Libraries are sought along LD_LIBRARY_PATH and the usual directories for this machine, programs
    along PATH and the usual directories for root's. NotFound where there is none.
    """
    given = os.fspath(name)
    if "/" in given:
        return given
    library = given.endswith(".so") or ".so." in given
    for directory in _library_directories() if library else _program_directories():
        path = f"{directory}/{given}"
        # Directories are executable, too.
        if os.path.isfile(path) and (library or os.access(path, os.X_OK)):  # noqa: PTH113
            return path
    where = "LD_LIBRARY_PATH" if library else "PATH"
    what = "shared library" if library else "program"
    raise NotFound(
        f"there is no {what} '{given}' along {where} and in the usual directories",
        hint="give its path",
    )


def _program_directories() -> Iterator[str]:
    for variable in (os.environ.get("PATH", os.defpath), _PROGRAM_DIRECTORIES):
        yield from filter(None, variable.split(":"))


def _library_directories() -> Iterator[str]:
    yield from filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":"))
    # Debian's directories are named for the machine: x86_64-linux-gnu.
    if machine := getattr(sys.implementation, "_multiarch", ""):
        for parent in _LIBRARY_PARENTS:
            yield f"{parent}/{machine}"
    # Others keep /lib for 32 bits where there are both.
    if sys.maxsize > 1 << 32:
        for parent in _LIBRARY_PARENTS:
            yield f"{parent}64"
    yield from _LIBRARY_PARENTS
