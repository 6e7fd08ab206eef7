"""Maps that are there before the loader runs: pinned ones, and arenas, which user space maps."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from lskel.bpf.enums import MapType
from lskel.errors import at
from lskel.replay.loaded import Loaded
from lskel.replay.options import Options
from lskel.replay.prepare import Prepared, prepare
from lskel.replay.this_machine import ThisMachine
from lskel.runtime.arena import create_arena, map_arena
from lskel.runtime.loader import check_byte_order, low_fds_taken
from lskel.runtime.maps.base import MapDefinition
from lskel.runtime.objects import Fd
from lskel.runtime.pins import SHARE_AGAIN, open_pin, pin_fds
from lskel.trace import MapCreate, Trace


def prepare_here(
    trace: Trace, options: Options, machine: ThisMachine, stack: ExitStack
) -> Prepared:
    """A trace made ready to be loaded by this process, with its errors; `stack` closes fds."""
    check_byte_order(trace.name, trace.order)
    return with_given(prepare(trace, options, machine), options, stack)


def with_given(prepared: Prepared, options: Options, stack: ExitStack) -> Prepared:
    """`prepared` with the maps that exist already; `stack` closes their fds.

    UsageError where a pin is of another map, or there is no place for pins.
    """
    trace = prepared.trace
    given: dict[int, Fd] = dict(prepared.given)
    pinned = [slot for slot, made in enumerate(trace.maps) if made.is_pinned]
    if not pinned and not trace.arenas:
        return prepared
    directory = str(options.pin_root)
    with low_fds_taken(), at(trace.name):
        for slot in pinned:
            wanted = _definition(trace.map_create(slot))
            fd = open_pin(wanted, directory, trust_pins=options.trust_pins)
            if fd is None:
                continue
            if wanted.type == MapType.ARENA and wanted.map_extra:
                # Others can be mapped only where they are, which the kernel does not tell.
                with fd:
                    fd = map_arena(wanted, fd)
            given[slot] = stack.enter_context(fd)
        for arena in trace.arenas:
            if arena.slot not in given:
                wanted = _definition(trace.map_create(arena.slot))
                given[arena.slot] = stack.enter_context(create_arena(wanted, arena.initial))
    return replace(prepared, given=given)


def _definition(create: MapCreate) -> MapDefinition:
    assert isinstance(create.value_size, int)  # an input is that of struct_ops only
    return MapDefinition(
        create.name,
        create.type,
        create.key_size,
        create.value_size,
        create.max_entries,
        create.flags,
        create.map_extra,
    )


def kept(loaded: Loaded, prepared: Prepared, options: Options) -> Loaded:
    """Pin the maps that ask for it and are not yet pinned; all of them, or none.

    Where that fails, closes `loaded`.
    """
    shared = {
        made.name: loaded.maps[made.name].fd.fileno()
        for made in prepared.trace.maps
        if made.is_pinned
    }
    with ExitStack() as undo:
        undo.enter_context(loaded)
        if shared:
            pin_root, trust = str(options.pin_root), options.trust_pins
            pin_fds(shared, pin_root, SHARE_AGAIN, trust_pins=trust)
        undo.pop_all()
    return loaded
