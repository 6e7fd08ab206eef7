"""Finding programs and shared libraries by name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from lskel.errors import NotFound

_PROGRAM_DIRECTORIES = "/usr/local/sbin:/usr/sbin:/sbin"
_LIBRARY_PARENTS = ("/lib", "/usr/lib", "/usr/local/lib")


def find_binary(name: str | os.PathLike[str]) -> str:
    """The path of a library ("libc.so.6") or program ("bash"); a name with a slash is a path.

    Libraries are searched in LD_LIBRARY_PATH and the standard directories of this machine, programs
    in PATH and the standard directories of root. NotFound if not found.
    """
    given = os.fspath(name)
    if "/" in given:
        return given
    library = given.endswith(".so") or ".so." in given
    for directory in _library_directories() if library else _program_directories():
        path = f"{directory}/{given}"
        # Directories are executable as well.
        if os.path.isfile(path) and (library or os.access(path, os.X_OK)):  # noqa: PTH113
            return path
    where = "LD_LIBRARY_PATH" if library else "PATH"
    what = "shared library" if library else "program"
    raise NotFound(
        f"no {what} '{given}' in {where} and the standard directories",
        hint="use its path",
    )


def _program_directories() -> Iterator[str]:
    for variable in (os.environ.get("PATH", os.defpath), _PROGRAM_DIRECTORIES):
        yield from filter(None, variable.split(":"))


def _library_directories() -> Iterator[str]:
    yield from filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":"))
    # Debian has a directory per architecture: x86_64-linux-gnu.
    if machine := getattr(sys.implementation, "_multiarch", ""):
        for parent in _LIBRARY_PARENTS:
            yield f"{parent}/{machine}"
    # Elsewhere /lib is for 32 bits if both exist.
    if sys.maxsize > 1 << 32:
        for parent in _LIBRARY_PARENTS:
            yield f"{parent}64"
    yield from _LIBRARY_PARENTS
