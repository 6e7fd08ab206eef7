"""lskel run"""

from __future__ import annotations

import errno
import gc
import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from lskel.cli import completers
from lskel.cli.common import json_option, only_for_one, pairs, sources_argument
from lskel.cli.contents import Buffers, Contents, Event, contents
from lskel.cli.failures import Failures, failure_options
from lskel.cli.generation import Generation, generation_options
from lskel.cli.run_options import for_one, load_loader, run_options, warn_of_form
from lskel.cli.sources import among, labels, to_run
from lskel.cli.status import Status, Terminated
from lskel.cli.terminal import line, note, print_json, progress, show_error
from lskel.cli.values import as_json, as_text
from lskel.errors import LskelError, NoPermission, at
from lskel.loader.model import Loader
from lskel.replay.attach import Attached, NotAttached, attach_all
from lskel.replay.options import Options
from lskel.replay.strace import lines
from lskel.replay.strace import to_json as to_json_record
from lskel.runtime.collection import Collection
from lskel.runtime.events import Events
from lskel.runtime.syscall import BpfError

if TYPE_CHECKING:
    from lskel.replay.simulator.simulate import Replay

MAX_ENTRIES = 20
# The limit for reading at the end: other processes may still fill a shared buffer.
_LAST_EVENTS = 1 << 20
# Seconds between readings of what programs print: nothing says that there is some.
_STREAM_INTERVAL = 0.5
_PLACE = "PROGRAM=TARGET"


@click.command("run")
@sources_argument
@click.option("--duration", type=click.FloatRange(min=0), metavar="S", help="Stop after S seconds.")
@click.option(
    "--event-type",
    "--event",
    "event_types",
    multiple=True,
    metavar="MAP=TYPE",
    shell_complete=completers.names(completers.buffers, then="="),
    help="The type of the events of MAP: TYPE of the object, or TYPE@FILE.h, a C header (clang).",
)
@click.option(
    "--attach",
    "attach",
    multiple=True,
    metavar=_PLACE,
    shell_complete=completers.names(completers.programs, then="="),
    help="Attach a program to an interface, the path of a cgroup or network namespace, a "
    "tracepoint, a kernel function, or BINARY:FUNCTION, depending on its kind. For probes also a "
    "section name, which replaces that of the program: uretprobe/BINARY:FUNCTION.",
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
    """Load, auto-attach, print events as they arrive, and print the maps at the end.
    What programs print by bpf_stream_printk is printed as well (Linux 6.17).

    Ends on Ctrl-C or after --duration. Events of ring and perf buffers are decoded by BTF: as the
    type in --event-type, else as lskel gen finds it, else printed in hexadecimal.
    With --json each line is an object: `loaded`, `event`, `printed`, then `maps`. Without
    permission to load, the loader is replayed in the simulator, which shows its system calls.

    Several objects run together, and each line begins with the object's name. If one fails, nothing
    is attached, and the exit status is 1.

    \b
    Example:
        lskel run execsnoop.bpf.o --duration 10
        lskel run execsnoop.lskel tcpconnlat.lskel --json
        lskel run trace.lskel --event-type samples=sample_t
        lskel run probe.bpf.o --target on_call=do_unlinkat --kconfig CONFIG_HZ=250
    """
    by_name = ["--event-type"] if event_types else []
    by_name += ["--attach"] if attach else []
    failures.check_log_file(sources)
    only_for_one("run", [*generation.for_one, *for_one(options), *by_name], sources)
    with at("--event-type"):
        types = pairs(event_types, "MAP=TYPE")
    with at("--attach"):
        targets = pairs(attach, _PLACE)
    generation = generation._replace(event_types=types)
    out = (_JsonOutput if as_json else _TextOutput)(labels(sources))
    gc.enable()  # events may arrive for days
    # systemd and timeout(1) send SIGTERM; print the maps then, too.
    signal.signal(signal.SIGTERM, _terminated)
    with ExitStack() as stack:
        how = Loading(generation, options, failures, stack)
        try:
            running = _load(sources, how, shown=not as_json)
        except NoPermission as error:
            note(f"lskel: {error}; replaying in the simulator instead")
            _simulate(sources, generation, options, out)
            return Status.OK
        if len(running) < len(sources):
            return Status.FAILURE
        buffers = [Buffers(bpf, types) for bpf in running]
        numbers = {made: number for number, one in enumerate(buffers) for made in one.types}
        events = stack.enter_context(Events(numbers))
        attached = []
        for source, bpf in zip(sources, running, strict=True):
            with among(source, sources):
                attached.append(attach_all(bpf, targets))
        try:
            for number, bpf in enumerate(running):
                out.started(number, bpf, *attached[number], buffers[number])
            end = inf if duration is None else monotonic() + duration
            while (left := end - monotonic()) > 0:
                for made, raw in events.events(min(left, _STREAM_INTERVAL)):
                    out.event(numbers[made], buffers[numbers[made]].event(made, raw))
                _show_streams(running, out)
        except KeyboardInterrupt:
            pass
        for bpf in reversed(running):
            bpf.detach()
        for made, raw in islice(events.consume(), _LAST_EVENTS):
            out.event(numbers[made], buffers[numbers[made]].event(made, raw))
        _show_streams(running, out)
        for number, bpf in enumerate(running):
            out.finished(number, list(contents(bpf, entries)), buffers[number].lost)
    return Status.OK


def _show_streams(running: Sequence[Collection], out: _TextOutput | _JsonOutput) -> None:
    """Print what programs have printed; nothing if the kernel has no streams (before 6.17)."""
    for number, bpf in enumerate(running):
        for program in filter(lambda program: program.loaded, bpf.progs):
            for name, stream in (("stdout", program.stdout), ("stderr", program.stderr)):
                try:
                    text = stream.read()
                except BpfError as error:
                    if error.errno == errno.EINVAL:
                        return
                    raise
                if text:
                    out.printed(number, program.name, name, text)


def _terminated(*_: object) -> None:
    raise Terminated


class Loading(NamedTuple):
    """How to load objects; `stack` closes them."""

    generation: Generation
    options: Options
    failures: Failures
    stack: ExitStack


def _load(sources: Sequence[str], how: Loading, *, shown: bool) -> list[Collection]:
    """Load all objects; failures are reported and left out. NoPermission if bpf(2) is denied."""
    running = []
    with progress(len(sources), shown=shown) as bar:
        for source in sources:
            bar.now(f"loading {source}")
            try:
                loader, options = to_run(source, how.generation, how.options)
                with among(source, sources), how.failures.explained(loader):
                    bpf, ran = load_loader(loader, options)
                running.append(how.stack.enter_context(bpf))
                warn_of_form(source, loader, ran, bar)
            except NoPermission:
                raise
            except LskelError as error:
                with bar.aside():
                    show_error(error)
            bar.advance()
    return running


def _simulate(
    sources: Sequence[str], generation: Generation, options: Options, out: _TextOutput | _JsonOutput
) -> None:
    from lskel.replay.simulator.run import run as simulate

    for number, source in enumerate(sources):
        loader, chosen = to_run(source, generation, options)
        replay = simulate(loader, chosen)
        out.simulated(number, loader, replay)
        replay.check(loader.trace.name)


class _TextOutput:
    """Text; with several objects, each line begins with the object's label."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._prefixes = [f"{label}: " if len(labels) > 1 else "" for label in labels]

    def started(
        self,
        number: int,
        bpf: Collection,
        attached: Sequence[Attached],
        skipped: Sequence[NotAttached],
        buffers: Buffers,
    ) -> None:
        prefix = self._prefixes[number]
        programs = sum(program.loaded for program in bpf.progs)
        line(f"{prefix}loaded {programs} programs, {len(bpf.maps)} maps")
        for item in attached:
            line(f"{prefix}attached {item.name} to {item.target}")
        for left in skipped:
            line(f"{prefix}not attached {left.name}: {left.reason}")
        if buffers.types:
            names = ", ".join(made.name for made in buffers.types)
            line(f"{prefix}events from {names}; Ctrl-C ends")

    def simulated(self, number: int, loader: Loader, replay: Replay) -> None:
        for record in replay.records:
            for text in lines(record, loader.trace.order):
                line(f"{self._prefixes[number]}{text}")

    def event(self, number: int, event: Event) -> None:
        line(f"{self._prefixes[number]}{event.map}: {as_text(event.value)}")

    def printed(self, number: int, program: str, stream: str, text: str) -> None:
        for part in text.splitlines():
            line(f"{self._prefixes[number]}{program} {stream}: {part}")

    def finished(self, number: int, maps: list[Contents], lost: Mapping[str, int]) -> None:
        prefix = self._prefixes[number]
        for name, count in lost.items():
            if count:
                what = f"lost {count} events of {name}: they arrived faster than they were read"
                line(f"{prefix}{what}")
        for shown in maps:
            line(f"{prefix}map {shown.map}:")
            for key, value in shown.entries:
                line(f"  {as_text(key)}: {as_text(value)}")
            if shown.more:
                line("  ...")


class _JsonOutput:
    """JSON: one object per line."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels

    def started(
        self,
        number: int,
        bpf: Collection,
        attached: Sequence[Attached],
        skipped: Sequence[NotAttached],
        buffers: Buffers,
    ) -> None:
        self.line(
            number,
            loaded={
                "maps": [made.name for made in bpf.maps],
                "programs": [program.name for program in bpf.progs if program.loaded],
                "attached": [{"program": a.name, "target": a.target} for a in attached],
                "not_attached": [{"program": s.name, "reason": s.reason} for s in skipped],
                "events": [made.name for made in buffers.types],
            },
        )

    def simulated(self, number: int, loader: Loader, replay: Replay) -> None:
        self.line(number, simulated=[to_json_record(record) for record in replay.records])

    def event(self, number: int, event: Event) -> None:
        form = "raw" if isinstance(event.value, bytes) else "value"
        self.line(number, event={"map": event.map, form: as_json(event.value)})

    def printed(self, number: int, program: str, stream: str, text: str) -> None:
        self.line(number, printed={"program": program, "stream": stream, "text": text})

    def finished(self, number: int, maps: list[Contents], lost: Mapping[str, int]) -> None:
        self.line(
            number,
            lost=dict(lost),
            maps=[
                {
                    "map": shown.map,
                    "entries": [{"key": as_json(k), "value": as_json(v)} for k, v in shown.entries],
                    "more": shown.more,
                }
                for shown in maps
            ],
        )

    def line(self, number: int, **item: Any) -> None:
        print_json({"object": self._labels[number], **item}, indent=None)
