"""A memory barrier, for memory that the kernel writes while we read it."""

from __future__ import annotations

from _thread import allocate_lock

_first = allocate_lock()
_second = allocate_lock()


def fence() -> None:
    """Memory accesses before the call take effect before those after it, on every machine.

    Python has no barrier of its own. Releasing one lock orders what came before, taking another
    afterwards orders what follows, and a release and a later acquire are not swapped.
    """
    with _first:
        pass
    with _second:
        pass
