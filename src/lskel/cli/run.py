"""lskel run"""

from __future__ import annotations

import gc
import json
import signal
import time
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from lskel.btf.value import Value, format_value, to_json
from lskel.cli.common import json_option, pairs, source_argument
from lskel.cli.failures import Failures, failure_options
from lskel.cli.generation import Generation, generation_options
from lskel.cli.running import run_options
from lskel.cli.sources import to_run
from lskel.errors import NoPermission
from lskel.live.attach import Links, attach_all
from lskel.live.contents import Contents, contents
from lskel.live.events import Event, Events
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
@source_argument
@click.option("--duration", type=click.FloatRange(min=0), metavar="S", help="Stop after S seconds.")
@click.option(
    "--event", "event_types", multiple=True, metavar="MAP=TYPE", help="BTF type of MAP's events."
)
@click.option(
    "--attach",
    "attach",
    multiple=True,
    metavar=_PLACE,
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
    source: str,
    duration: float | None,
    event_types: tuple[str, ...],
    attach: tuple[str, ...],
    entries: int,
    failures: Failures,
    generation: Generation,
    options: Options,
    as_json: bool,
) -> None:
    """Load, attach what attaches by itself, stream events; print the maps at the end.

    Ends on Ctrl-C or after --duration. Events of ring and perf buffers are decoded by BTF: as the
    type that --event names, else as a struct named like the map, or `event`; hexadecimal otherwise.
    With --json each line is an object: `loaded`, `event`, then `maps`. Where the kernel gives no
    permission, the loader is replayed in the simulator, which shows what it would do.

    \b
    Example:
        lskel run execsnoop.bpf.o --duration 10
        lskel run trace.lskel --event samples=sample_t
        lskel run probe.bpf.o --target on_call=do_unlinkat --kconfig CONFIG_HZ=250
    """
    loader, options = to_run(source, generation, options)
    out = _Json() if as_json else _Text()
    gc.enable()  # events may come for days
    # Services and time-outs end a process so; they want the maps as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with failures.explained(loader):
            running = kernel.run(loader, options)
    except NoPermission as error:
        click.echo(f"lskel: {error}; replaying in the simulator instead", err=True)
        from lskel.replay.simulator.run import run as simulate

        replay = simulate(loader, options)
        out.simulated(loader, replay)
        replay.check(loader.trace.name)
        return
    with running as loaded, Events(loaded, pairs(event_types, "MAP=TYPE")) as events:
        places = pairs(attach, _PLACE)
        with attach_all(loaded, places, options.targets) as links:
            out.started(loaded, links, events)
            try:
                end = None if duration is None else time.monotonic() + duration
                for event in events.until(end):
                    out.event(event)
            except KeyboardInterrupt:
                pass
        for event in islice(events.available(), _LAST_EVENTS):
            out.event(event)
        out.finished(list(contents(loaded, entries)), events.lost)


class _Text:
    """For people."""

    def started(self, loaded: Loaded, links: Links, events: Events) -> None:
        click.echo(f"loaded {len(loaded.programs)} programs, {len(loaded.maps)} maps")
        for item in links.attached:
            click.echo(f"attached {item.program} to {item.target}")
        for skipped in links.skipped:
            click.echo(f"not attached {skipped.program}: {skipped.reason}")
        if events.maps:
            click.echo(f"events from {', '.join(events.maps)}; Ctrl-C ends")

    def simulated(self, loader: Loader, replay: Replay) -> None:
        for record in replay.records:
            for line in lines(record, loader.trace.order):
                click.echo(line)

    def event(self, event: Event) -> None:
        text = event.raw.hex(" ") if event.value is None else format_value(event.value)
        click.echo(f"{event.map}: {text}")

    def finished(self, maps: list[Contents], lost: Mapping[str, int]) -> None:
        for name, count in lost.items():
            if count:
                click.echo(f"lost {count} events of {name}, which came faster than they were read")
        for shown in maps:
            click.echo(f"map {shown.map}:")
            for key, value in shown.entries:
                click.echo(f"  {_text(key)}: {_text(value)}")
            if shown.more:
                click.echo("  ...")


class _Json:
    """For programs: one object a line."""

    def started(self, loaded: Loaded, links: Links, events: Events) -> None:
        self.line(
            loaded={
                "maps": list(loaded.maps),
                "programs": list(loaded.programs),
                "attached": [{"program": a.program, "target": a.target} for a in links.attached],
                "not_attached": [{"program": s.program, "reason": s.reason} for s in links.skipped],
                "events": list(events.maps),
            }
        )

    def simulated(self, loader: Loader, replay: Replay) -> None:
        self.line(simulated=[to_json_record(record) for record in replay.records])

    def event(self, event: Event) -> None:
        value = {"raw": event.raw.hex()} if event.value is None else {"value": to_json(event.value)}
        self.line(event={"map": event.map, **value})

    def finished(self, maps: list[Contents], lost: Mapping[str, int]) -> None:
        self.line(
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

    def line(self, **item: Any) -> None:
        click.echo(json.dumps(item))


def _text(value: Value | bytes) -> str:
    return value.hex(" ") if isinstance(value, bytes) else format_value(value)


def _json(value: Value | bytes) -> Any:
    return value.hex() if isinstance(value, bytes) else to_json(value)
