"""Maps that are there before the loader runs: pinned ones, and arenas, which user space maps."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from lskel.bpf.enums import MapType
from lskel.replay.arena import create_arena, map_arena
from lskel.replay.loaded import Loaded
from lskel.replay.options import Options
from lskel.replay.pin import make_directory, open_pin, pin_fds
from lskel.replay.prepare import Prepared
from lskel.runtime.loader import low_fds_taken
from lskel.runtime.objects import Fd


def with_given(prepared: Prepared, options: Options, stack: ExitStack) -> Prepared:
    """`prepared` with the maps that exist already; `stack` closes their fds.

    UsageError where a pin is of another map, or there is no place for pins.
    """
    trace = prepared.trace
    given: dict[int, Fd] = dict(prepared.given)
    pinned = [slot for slot, made in enumerate(trace.maps) if made.is_pinned]
    if not pinned and not trace.arenas:
        return prepared
    with low_fds_taken():
        if pinned:
            make_directory(options.pin_root, stack)
        for slot in pinned:
            create = trace.map_create(slot)
            fd = open_pin(create, options.pin_root)
            if fd is None:
                continue
            if create.type == MapType.ARENA and create.map_extra:
                # Others can be mapped only where they are, which the kernel does not tell.
                with fd:
                    fd = map_arena(trace, create, fd)
            given[slot] = stack.enter_context(fd)
        for arena in trace.arenas:
            if arena.slot not in given:
                given[arena.slot] = stack.enter_context(create_arena(trace, arena))
    return replace(prepared, given=given)


def kept(loaded: Loaded, prepared: Prepared, options: Options) -> Loaded:
    """Pin the maps that ask for it and are not yet pinned; all of them, or none.

    Where that fails, closes `loaded`.
    """
    shared = {
        made.name: loaded.maps[made.name].fd for made in prepared.trace.maps if made.is_pinned
    }
    with ExitStack() as undo:
        undo.enter_context(loaded)
        pin_fds(
            shared,
            options.pin_root,
            "somebody pinned another map while this one was loaded: try again to share it",
        )
        undo.pop_all()
    return loaded
