"""lskel run"""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from lskel.btf.value import Value, format_value, to_json
from lskel.cli import offers
from lskel.cli.common import json_option, only_for_one, pairs, sources_argument
from lskel.cli.failures import Failures, failure_options
from lskel.cli.generation import Generation, generation_options
from lskel.cli.running import for_one, run_options, warn_of_form
from lskel.cli.sources import among, labels, to_run
from lskel.cli.status import Status, Terminated
from lskel.cli.terminal import line, note, print_json, progress, show_error
from lskel.errors import LskelError, NoPermission
from lskel.live.attach import Links, attach_all
from lskel.live.contents import Contents, contents
from lskel.live.events import Buffers, Event, Events
from lskel.loader.model import Loader
from lskel.replay import kernel
from lskel.replay.loaded import Loaded
from lskel.replay.options import Options
from lskel.replay.strace import lines
from lskel.replay.strace import to_json as to_json_record

if TYPE_CHECKING:
    from lskel.replay.simulator.run import Replay

MAX_ENTRIES = 20
# Read at the end; other processes may go on filling a buffer that is shared.
_LAST_EVENTS = 1 << 20
_PLACE = "PROGRAM=PLACE"


@click.command("run")
@sources_argument
@click.option("--duration", type=click.FloatRange(min=0), metavar="S", help="Stop after S seconds.")
@click.option(
    "--event",
    "event_types",
    multiple=True,
    metavar="MAP=TYPE",
    shell_complete=offers.names(offers.buffers, then="="),
    help="BTF type of MAP's events.",
)
@click.option(
    "--attach",
    "attach",
    multiple=True,
    metavar=_PLACE,
    shell_complete=offers.names(offers.programs, then="="),
    help="Attach a program to an interface, the path of a cgroup or network namespace, a "
    "tracepoint, a function of the kernel, or BINARY:FUNCTION, as its kind has it.",
)
@click.option(
    "--entries",
    type=click.IntRange(min=0),
    default=MAX_ENTRIES,
    show_default=True,
    metavar="N",
    help="Print at most N entries of each map at the end.",
)
@failure_options
@generation_options
@run_options
@json_option
def command(
    sources: tuple[str, ...],
    duration: float | None,
    event_types: tuple[str, ...],
    attach: tuple[str, ...],
    entries: int,
    failures: Failures,
    generation: Generation,
    options: Options,
    as_json: bool,
) -> int:
    """Load, attach what attaches by itself, stream events; print the maps at the end.

    Ends on Ctrl-C or after --duration. Events of ring and perf buffers are decoded by BTF: as the
    type that --event names, else as a struct named like the map, or `event`; hexadecimal otherwise.
    With --json each line is an object: `loaded`, `event`, then `maps`. Where the kernel gives no
    permission, the loader is replayed in the simulator, which shows what it would do.

    Several objects run together, and what is printed has the object's name in front. Where one
    fails, nothing is attached, and the exit status is 1.

    \b
    Example:
        lskel run execsnoop.bpf.o --duration 10
        lskel run execsnoop.lskel tcpconnlat.lskel --json
        lskel run trace.lskel --event samples=sample_t
        lskel run probe.bpf.o --target on_call=do_unlinkat --kconfig CONFIG_HZ=250
    """
    by_name = ["--event"] if event_types else []
    by_name += ["--attach"] if attach else []
    failures.check_log_file(sources)
    only_for_one("run", [*generation.for_one, *for_one(options), *by_name], sources)
    types, places = pairs(event_types, "MAP=TYPE"), pairs(attach, _PLACE)
    out = (_Json if as_json else _Text)(labels(sources))
    gc.enable()  # events may come for days
    # Services and time-outs end a process so; they want the maps as well.
    signal.signal(signal.SIGTERM, _terminated)
    with ExitStack() as stack:
        try:
            running = _load(sources, generation, options, failures, stack, shown=not as_json)
        except NoPermission as error:
            note(f"lskel: {error}; replaying in the simulator instead")
            _simulate(sources, generation, options, out)
            return Status.OK
        if len(running) < len(sources):
            return Status.FAILURE
        buffers = [stack.enter_context(Buffers(loaded, types)) for loaded, _ in running]
        events = stack.enter_context(Events(*buffers))
        attached = stack.enter_context(ExitStack())
        links = []
        for source, (loaded, chosen) in zip(sources, running, strict=True):
            with among(source, sources):
                links.append(attached.enter_context(attach_all(loaded, places, chosen.targets)))
        try:
            for number, (loaded, _) in enumerate(running):
                out.started(number, loaded, links[number], buffers[number])
            end = None if duration is None else time.monotonic() + duration
            for event in events.until(end):
                out.event(event)
        except KeyboardInterrupt:
            pass
        attached.close()
        for event in islice(events.available(), _LAST_EVENTS):
            out.event(event)
        for number, (loaded, _) in enumerate(running):
            out.finished(number, list(contents(loaded, entries)), buffers[number].lost)
    return Status.OK


def _terminated(*_: object) -> None:
    raise Terminated


def _load(
    sources: Sequence[str],
    generation: Generation,
    options: Options,
    failures: Failures,
    stack: ExitStack,
    *,
    shown: bool,
) -> list[tuple[Loaded, Options]]:
    """Load all; those that fail are reported and missing then. NoPermission where nothing may."""
    running = []
    with progress(len(sources), shown=shown) as bar:
        for source in sources:
            bar.now(f"loading {source}")
            try:
                loader, chosen = to_run(source, generation, options)
                with among(source, sources), failures.explained(loader):
                    running.append((stack.enter_context(kernel.run(loader, chosen)), chosen))
                warn_of_form(source, loader, running[-1][0], bar)
            except NoPermission:
                raise
            except LskelError as error:
                with bar.aside():
                    show_error(error)
            bar.advance()
    return running


def _simulate(
    sources: Sequence[str], generation: Generation, options: Options, out: _Text | _Json
) -> None:
    from lskel.replay.simulator.run import run as simulate

    for number, source in enumerate(sources):
        loader, chosen = to_run(source, generation, options)
        replay = simulate(loader, chosen)
        out.simulated(number, loader, replay)
        replay.check(loader.trace.name)


class _Text:
    """For people; where there are several objects, with their labels in front."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._prefixes = [f"{label}: " if len(labels) > 1 else "" for label in labels]

    def started(self, number: int, loaded: Loaded, links: Links, buffers: Buffers) -> None:
        prefix = self._prefixes[number]
        line(f"{prefix}loaded {len(loaded.programs)} programs, {len(loaded.maps)} maps")
        for item in links.attached:
            line(f"{prefix}attached {item.program} to {item.target}")
        for skipped in links.skipped:
            line(f"{prefix}not attached {skipped.program}: {skipped.reason}")
        if buffers.maps:
            line(f"{prefix}events from {', '.join(buffers.maps)}; Ctrl-C ends")

    def simulated(self, number: int, loader: Loader, replay: Replay) -> None:
        for record in replay.records:
            for text in lines(record, loader.trace.order):
                line(f"{self._prefixes[number]}{text}")

    def event(self, event: Event) -> None:
        text = event.raw.hex(" ") if event.value is None else format_value(event.value)
        line(f"{self._prefixes[event.source]}{event.map}: {text}")

    def finished(self, number: int, maps: list[Contents], lost: Mapping[str, int]) -> None:
        prefix = self._prefixes[number]
        for name, count in lost.items():
            if count:
                what = f"lost {count} events of {name}, which came faster than they were read"
                line(f"{prefix}{what}")
        for shown in maps:
            line(f"{prefix}map {shown.map}:")
            for key, value in shown.entries:
                line(f"  {_text(key)}: {_text(value)}")
            if shown.more:
                line("  ...")


class _Json:
    """For programs: one object a line."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels

    def started(self, number: int, loaded: Loaded, links: Links, buffers: Buffers) -> None:
        self.line(
            number,
            loaded={
                "maps": list(loaded.maps),
                "programs": list(loaded.programs),
                "attached": [{"program": a.program, "target": a.target} for a in links.attached],
                "not_attached": [{"program": s.program, "reason": s.reason} for s in links.skipped],
                "events": list(buffers.maps),
            },
        )

    def simulated(self, number: int, loader: Loader, replay: Replay) -> None:
        self.line(number, simulated=[to_json_record(record) for record in replay.records])

    def event(self, event: Event) -> None:
        value = {"raw": event.raw.hex()} if event.value is None else {"value": to_json(event.value)}
        self.line(event.source, event={"map": event.map, **value})

    def finished(self, number: int, maps: list[Contents], lost: Mapping[str, int]) -> None:
        self.line(
            number,
            lost=dict(lost),
            maps=[
                {
                    "map": shown.map,
                    "entries": [{"key": _json(k), "value": _json(v)} for k, v in shown.entries],
                    "more": shown.more,
                }
                for shown in maps
            ],
        )

    def line(self, number: int, **item: Any) -> None:
        print_json({"object": self._labels[number], **item}, indent=None)


def _text(value: Value | bytes) -> str:
    return value.hex(" ") if isinstance(value, bytes) else format_value(value)


def _json(value: Value | bytes) -> Any:
    return value.hex() if isinstance(value, bytes) else to_json(value)
