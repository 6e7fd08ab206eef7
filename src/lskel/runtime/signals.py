"""Ctrl-C that has to wait: between a system call that makes an fd, and who owns it."""

from __future__ import annotations

import signal
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Not every system has all of them.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM")
_MAY_RAISE = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals that Python's handlers may raise for come when the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _MAY_RAISE)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
