"""Order between our memory accesses, for memory that the kernel writes while we read it."""

from __future__ import annotations

import os
from _thread import allocate_lock

# These keep every access in order, but for loads that overtake stores (which no ring minds).
_ORDERED = frozenset(("x86_64", "i386", "i486", "i586", "i686", "s390x"))

_first = allocate_lock()
_second = allocate_lock()


def fence_by_locks() -> None:
    """Loads and stores before the call happen before stores after it, loads also before loads.

    Python has no barrier of its own. Releasing one lock orders what came before, taking another
    afterwards orders what follows, and a release and a later acquire do not change places.
    """
    with _first:
        pass
    with _second:
        pass


def no_fence() -> None:
    """The same, where the machine does it by itself."""


fence = no_fence if hasattr(os, "uname") and os.uname().machine in _ORDERED else fence_by_locks
