"""lskel load"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from lskel.bpf import context
from lskel.bpf.enums import MapType, ProgType
from lskel.bpf.names import enum_name
from lskel.cli import completers
from lskel.cli.common import (
    json_option,
    only_for_one,
    sources_argument,
)
from lskel.cli.failures import Failures, failure_options
from lskel.cli.generation import Generation, generation_options
from lskel.cli.run_options import for_one, load_loader, run_options, warn_of_form
from lskel.cli.sources import among, default_name, to_run
from lskel.cli.status import Status
from lskel.cli.terminal import Progress, line, note, print_json, progress, show_error
from lskel.errors import LskelError, UsageError, at
from lskel.loader.model import Loader
from lskel.replay.options import PIN_ROOT, Options
from lskel.replay.trust import check_bytes
from lskel.runtime.collection import Collection

SIMULATOR = "simulator"


KERNEL, DIRECT = "kernel", "direct"


@click.command("load")
@sources_argument
@click.option(
    "--replay",
    type=click.Choice([KERNEL, DIRECT, SIMULATOR]),
    default=KERNEL,
    show_default=True,
    help="Run the loader program, make its system calls directly, or simulate them.",
)
@click.option(
    "--pin",
    metavar="DIR",
    shell_complete=completers.directories,
    help="Pin maps and programs by name in DIR of a bpffs; with several objects, in DIR/OBJECT.",
)
@failure_options
@generation_options
@run_options
@json_option
def command(
    sources: tuple[str, ...],
    replay: str,
    pin: str | None,
    failures: Failures,
    generation: Generation,
    options: Options,
    as_json: bool,
) -> int:
    """Load maps and programs, report them, and release them unless they are pinned.

    Missing kconfig values and attach targets are reported before anything is loaded.

    Several objects are loaded one after the other. If one fails, the error is reported, the others
    are still loaded, and the exit status is 1.

    \b
    Example:
        lskel load hello.bpf.o
        lskel load hello.lskel --pin /sys/fs/bpf/hello
        lskel load build/*.bpf.o --json
        lskel load probe.lskel --target on_call=do_unlinkat --no-autoload on_return
    """
    has_pins = pin is not None or options.pin_root != PIN_ROOT or options.trust_pins
    if replay == SIMULATOR and has_pins:
        hint = "remove --pin, --pin-root and --trust-pins"
        raise UsageError("the simulator does not support pins", hint=hint)
    if replay == SIMULATOR and options.token_path is not None:
        raise UsageError("the simulator does not support BPF tokens", hint="remove --token-path")
    failures.check_log_file(sources)
    only_for_one("load", [*generation.for_one, *for_one(options)], sources)
    is_one = len(sources) == 1
    reports: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    with progress(len(sources), shown=not as_json) as bar:
        how = _LoadOptions(sources, replay, generation, options, failures, bar)
        for source, place in _pin_directories(sources, pin):
            try:
                report = how.load(source, place)
            except LskelError as error:
                failed.append({"object": source, "error": str(error)})
                with bar.aside():
                    show_error(error)
            else:
                reports.append(report)
                if not as_json:
                    with bar.aside():
                        _print(report, place, "" if is_one else f"{source}: ")
            bar.advance()
    if as_json and not is_one:
        print_json({"loaded": reports, "failed": failed})
    elif as_json:
        for report in reports:
            print_json(report)
    elif not is_one:
        note(f"{len(reports)} of {len(sources)} objects loaded")
    return Status.FAILURE if failed else Status.OK


class _LoadOptions(NamedTuple):
    """How to load objects."""

    sources: tuple[str, ...]
    replay: str
    generation: Generation
    options: Options
    failures: Failures
    bar: Progress

    def load(self, source: str, place: _PinDirectory) -> dict[str, Any]:
        """Load an object and release it unless it is pinned; return the report."""
        self.bar.now(f"generating {source}")
        loader, options = to_run(source, self.generation, self.options)
        self.bar.now(f"loading {source}")
        if self.replay == SIMULATOR:
            return {"object": source, **_simulated(loader, options, source)}
        with among(source, self.sources), self.failures.explained(loader):
            bpf, ran = load_loader(loader, options, direct=self.replay == DIRECT)
            with bpf:
                report = _report(self.replay, bpf, ran)
                warn_of_form(source, loader, ran, self.bar)
                if (directory := place.directory()) is not None:
                    bpf.pin(directory)
                return {"object": source, **report}


class _PinDirectory(NamedTuple):
    """Where an object is pinned, if at all; `taken`: by another object of the same name."""

    path: Path | None
    taken: bool = False

    def directory(self) -> Path | None:
        """The directory; UsageError if it is taken."""
        if self.taken:
            raise UsageError(f"another object is pinned in {self.path}")
        return self.path


def _pin_directories(
    sources: Sequence[str], pin: str | None
) -> Iterator[tuple[str, _PinDirectory]]:
    """Each object; with several, each has its own directory in `pin`."""
    seen: set[str] = set()
    for source in sources:
        name = default_name(source)
        if pin is None or len(sources) == 1:
            yield source, _PinDirectory(None if pin is None else Path(pin))
        else:
            yield source, _PinDirectory(Path(pin, name), name in seen)
        seen.add(name)


def _simulated(loader: Loader, options: Options, source: str) -> dict[str, Any]:
    """The report of a load in the simulator; programs have no tags."""
    from lskel.replay.simulator.run import run as simulate

    with at(source):
        check_bytes(loader, options)
        replayed = simulate(loader, options)
    replayed.check(source)
    trace = loader.trace

    def fd(slot: int) -> bytes:
        offset = context.program_fd(len(trace.maps), slot)
        return replayed.context[offset : offset + context.PROGRAM_SIZE]

    return {
        "form": loader.form.value,
        "replay": SIMULATOR,
        "loader": {"insns": len(loader.insns) // 8, "blob": len(loader.blob)},
        "maps": [
            {"name": m.name, "id": None, "type": enum_name(MapType, trace.map_create(slot).type)}
            for slot, m in enumerate(trace.maps)
        ],
        "programs": [
            {"name": p.name, "id": None, "type": enum_name(ProgType, op.type), "tag": None}
            for slot, p in enumerate(trace.programs)
            if (op := trace.prog_load(slot)) is not None and any(fd(slot))
        ],
    }


def _report(replay: str, bpf: Collection, ran: Loader | None) -> dict[str, Any]:
    return {
        "form": None if ran is None else ran.form.value,
        "replay": replay,
        "loader": None if ran is None else {"insns": len(ran.insns) // 8, "blob": len(ran.blob)},
        "maps": [
            {"name": m.name, "id": info.id, "type": enum_name(MapType, info.type)}
            for m, info in ((m, m.info()) for m in bpf.maps if m.autocreate)
        ],
        "programs": [
            {
                "name": p.name,
                "id": info.id,
                "type": enum_name(ProgType, info.type),
                "tag": info.tag,
                **({"log": p.log} if p.log_level else {}),
            }
            for p, info in ((p, p.info()) for p in bpf.progs if p.loaded)
        ],
    }


def _print(report: dict[str, Any], place: _PinDirectory, prefix: str) -> None:
    loader = report["loader"]
    how = (
        f"by a loader of {loader['insns']} instructions and {loader['blob']} bytes of data"
        if loader
        else "by direct system calls"
    )
    if report["replay"] == SIMULATOR:
        how += ", in the simulator"
    line(f"{prefix}{len(report['maps'])} maps, {len(report['programs'])} programs {how}")
    for what in ("map", "program"):
        for item in report[what + "s"]:
            number = f"  id {item['id']}" if item["id"] is not None else ""
            tag = f"  tag {item['tag']}" if item.get("tag") else ""
            text = f"  {what:8} {item['name']:24} {item['type']:18}{number}{tag}"
            line(text.rstrip())
            for logged in item.get("log", ()):
                line(f"    {logged}")
    if place.path is not None:
        line(f"{prefix}pinned in {place.path}")
