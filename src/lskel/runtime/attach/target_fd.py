"""Attach targets with a path: cgroups, network namespaces."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from lskel.errors import NotFound
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Target: TypeAlias = str | os.PathLike[str] | int


@contextmanager
def target_fd(target: Target, what: str) -> Iterator[int]:
    """The fd of a target: a path is target_fd for the block, an fd is returned unchanged.

    NotFound "no `what` ..." if the path does not exist, KernelError if it cannot be target_fd.
    """
    if isinstance(target, int):
        yield target
        return
    path = os.fspath(target)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"no {what} '{path}'") from error
    except OSError as error:
        raise KernelError(f"open({path})", error.errno or 0) from error
    with Fd(fd):
        yield fd
