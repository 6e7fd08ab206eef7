"""What programs attach to and has a path: cgroups, network namespaces."""

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
def opened(target: Target, what: str) -> Iterator[int]:
    """An fd of a path, open in the block only; of an fd, itself.

    NotFound "there is no `what` ..." where there is no such path, KernelError where it cannot be
    opened.
    """
    if isinstance(target, int):
        yield target
        return
    path = os.fspath(target)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"there is no {what} '{path}'") from error
    except OSError as error:
        raise KernelError(f"open({path})", error.errno or 0) from error
    with Fd(fd):
        yield fd
