"""lskel load"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lskel.bpf.enums import MapType, ProgType
from lskel.bpf.names import enum_name
from lskel.cli.common import (
    form_option,
    json_option,
    name_option,
    print_json,
    source_argument,
    to_loader,
)
from lskel.loader.model import Loader
from lskel.replay import direct, kernel
from lskel.replay.loaded import Loaded
from lskel.replay.pin import pin_all

_REPLAYS: dict[str, Callable[[Loader], Loaded]] = {
    "kernel": kernel.run,
    "direct": lambda loader: direct.run(loader.trace),
}


@click.command("load")
@source_argument
@form_option
@click.option(
    "--replay",
    type=click.Choice(list(_REPLAYS)),
    default="kernel",
    show_default=True,
    help="Run the loader program, or make its system calls one by one.",
)
@click.option("--pin", metavar="DIR", help="Pin maps and programs by name in DIR of a bpffs.")
@name_option
@json_option
def command(
    source: str, form: str, replay: str, pin: str | None, name: str | None, as_json: bool
) -> None:
    """Load maps and programs, report them, and let them go, unless they are pinned.

    \b
    Example:
        lskel load hello.bpf.o
        lskel load hello.lskel --pin /sys/fs/bpf/hello
    """
    loader = to_loader(source, name, form)
    with _REPLAYS[replay](loader) as loaded:
        report = _report(loader, replay, loaded)
        if pin is not None:
            pin_all(loaded, Path(pin))
        if as_json:
            print_json(report)
        else:
            _print(report, pin)


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
    click.echo(f"{len(report['maps'])} maps, {len(report['programs'])} programs {how}")
    for what in ("map", "program"):
        for item in report[what + "s"]:
            tag = f"  tag {item['tag']}" if "tag" in item else ""
            click.echo(f"  {what:8} {item['name']:24} {item['type']:18} id {item['id']}{tag}")
    if pin is not None:
        click.echo(f"pinned in {pin}")
