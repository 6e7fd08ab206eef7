"""Maps that are there before the loader runs: pinned ones, and arenas, which user space maps."""

from __future__ import annotations

from contextlib import ExitStack

from lskel.replay.loaded import Loaded
from lskel.replay.options import Options
from lskel.replay.prepare import Prepared


def with_given(prepared: Prepared, options: Options, stack: ExitStack) -> Prepared:
    """`prepared` with the maps that exist already; `stack` closes their fds."""
    return prepared


def kept(loaded: Loaded, prepared: Prepared, options: Options) -> Loaded:
    """Pin the maps that ask for it and were not given; all of them, or none.

    Where that fails, closes `loaded`.
    """
    return loaded
