"""lskel load"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lskel.bpf import context
from lskel.bpf.enums import MapType, ProgType
from lskel.bpf.names import enum_name
from lskel.cli.common import json_option, print_json, source_argument
from lskel.cli.failures import Failures, failure_options
from lskel.cli.generation import Generation, generation_options
from lskel.cli.running import run_options
from lskel.cli.sources import to_run
from lskel.errors import UsageError, at
from lskel.loader.model import Loader
from lskel.replay import direct, kernel
from lskel.replay.loaded import Loaded
from lskel.replay.options import PIN_ROOT, Options
from lskel.replay.pin import pin_all

SIMULATOR = "simulator"

_REPLAYS: dict[str, Callable[[Loader, Options], Loaded]] = {
    "kernel": kernel.run,
    "direct": lambda loader, options: direct.run(loader.trace, options),
}


@click.command("load")
@source_argument
@click.option(
    "--replay",
    type=click.Choice([*_REPLAYS, SIMULATOR]),
    default="kernel",
    show_default=True,
    help="Run the loader program, make its system calls one by one, or only simulate them.",
)
@click.option("--pin", metavar="DIR", help="Pin maps and programs by name in DIR of a bpffs.")
@failure_options
@generation_options
@run_options
@json_option
def command(
    source: str,
    replay: str,
    pin: str | None,
    failures: Failures,
    generation: Generation,
    options: Options,
    as_json: bool,
) -> None:
    """Load maps and programs, report them, and let them go, unless they are pinned.

    What the machine lacks is said before anything is loaded: values of the configuration, and what
    programs attach to.

    \b
    Example:
        lskel load hello.bpf.o
        lskel load hello.lskel --pin /sys/fs/bpf/hello
        lskel load probe.lskel --target on_call=do_unlinkat --no-autoload on_return
    """
    loader, options = to_run(source, generation, options)
    if replay == SIMULATOR:
        if pin is not None or options.pin_root != PIN_ROOT:
            raise UsageError("the simulator has no pins", hint="leave out --pin and --pin-root")
        _show(_simulated(loader, options, source), None, as_json)
        return
    with failures.explained(loader):
        loading = _REPLAYS[replay](loader, options)
    with loading as loaded:
        report = _report(loader, replay, loaded)
        if pin is not None:
            pin_all(loaded, Path(pin))
        _show(report, pin, as_json)


def _show(report: dict[str, Any], pin: str | None, as_json: bool) -> None:
    if as_json:
        print_json(report)
    else:
        _print(report, pin)


def _simulated(loader: Loader, options: Options, source: str) -> dict[str, Any]:
    """What a load would leave, without a kernel; programs have no tags."""
    from lskel.replay.simulator.run import run as simulate

    with at(source):
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


def _report(loader: Loader, replay: str, loaded: Loaded) -> dict[str, Any]:
    used = replay == "kernel"
    return {
        "form": loader.form.value if used else None,
        "replay": replay,
        "loader": {"insns": len(loader.insns) // 8, "blob": len(loader.blob)} if used else None,
        "maps": [
            {"name": m.name, "id": info.id, "type": enum_name(MapType, info.type)}
            for m, info in ((m, m.info()) for m in loaded.maps.values())
        ],
        "programs": [
            {
                "name": p.name,
                "id": info.id,
                "type": enum_name(ProgType, info.type),
                "tag": info.tag,
            }
            for p, info in ((p, p.info()) for p in loaded.programs.values())
        ],
    }


def _print(report: dict[str, Any], pin: str | None) -> None:
    loader = report["loader"]
    how = (
        f"by a loader of {loader['insns']} instructions and {loader['blob']} bytes of data"
        if loader
        else "by direct system calls"
    )
    if report["replay"] == SIMULATOR:
        how += ", in the simulator"
    click.echo(f"{len(report['maps'])} maps, {len(report['programs'])} programs {how}")
    for what in ("map", "program"):
        for item in report[what + "s"]:
            number = f"  id {item['id']}" if item["id"] is not None else ""
            tag = f"  tag {item['tag']}" if item.get("tag") else ""
            line = f"  {what:8} {item['name']:24} {item['type']:18}{number}{tag}"
            click.echo(line.rstrip())
    if pin is not None:
        click.echo(f"pinned in {pin}")
