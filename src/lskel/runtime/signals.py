"""Delaying signals between a system call that creates an fd and its owner."""

from __future__ import annotations

import signal
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Some systems lack some of them.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM")
_MAY_RAISE = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay signals whose Python handlers may raise until the end of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _MAY_RAISE)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
