"""Hints by errno for a failed attach."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from lskel.runtime.syscall import KernelError


@contextmanager
def with_hints(hints: Mapping[int, str | Callable[[], str]]) -> Iterator[None]:
    """Add the hint for its errno to a KernelError from the block.

    A hint that takes time to find out is a function. EPERM always has one: for root that of `hints`
    if present, else the missing capabilities.
    """
    try:
        yield
    except KernelError as error:
        if not error.hint:
            hint = hints.get(error.errno, "")
            known = hint if isinstance(hint, str) else hint()
            if error.errno == errno.EPERM and not (known and os.geteuid() == 0):
                from lskel.runtime.permissions import why_refused

                known = why_refused()
            error.hint = known
        raise
