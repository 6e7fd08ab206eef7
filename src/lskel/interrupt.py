"""Ctrl-C during imports.

An exception from a signal handler may be swallowed by importlib, or printed as a traceback.
"""

from __future__ import annotations

import os
import signal

INTERRUPTED = 128 + signal.SIGINT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType


class ends_at_once:
    """A context in which Ctrl-C ends the process silently."""

    def __enter__(self) -> None:
        self._is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._is_ours:
            try:
                signal.signal(signal.SIGINT, _end)
            except ValueError:  # not the main thread, which gets the signals
                self._is_ours = False

    def __exit__(self, *_: object) -> None:
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
