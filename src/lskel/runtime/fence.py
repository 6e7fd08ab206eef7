"""Memory barriers, for memory that the kernel writes while we read it."""

from __future__ import annotations

import os
from _thread import allocate_lock

# These keep accesses in order, except for loads that pass stores (harmless for rings).
_ORDERED = frozenset(("x86_64", "i386", "i486", "i586", "i686", "s390x"))

_first = allocate_lock()
_second = allocate_lock()


def fence_by_locks() -> None:
    """Order earlier loads and stores before later stores, and earlier loads before later loads.

    Python has no barrier of its own. Releasing one lock orders what came before, acquiring another
    afterwards orders what follows, and a release and a later acquire are not reordered.
    """
    with _first:
        pass
    with _second:
        pass


def no_fence() -> None:
    """Nothing: the architecture guarantees the order."""


fence = no_fence if hasattr(os, "uname") and os.uname().machine in _ORDERED else fence_by_locks
