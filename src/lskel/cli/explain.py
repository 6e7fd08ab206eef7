"""lskel explain"""

from __future__ import annotations

from pathlib import Path

import click

from lskel.cli import offers
from lskel.cli.common import json_option, same_file, source_argument
from lskel.cli.generation import Generation, generation_options
from lskel.cli.running import measure_options
from lskel.cli.sources import (
    STDIN,
    Kind,
    applicable,
    default_name,
    kind_of,
    open_to_look,
    read,
)
from lskel.cli.terminal import note, print_file
from lskel.errors import UsageError, at
from lskel.explain.build import Given, Header, Request, explain
from lskel.explain.page import page, to_json
from lskel.loader.header import parse_header
from lskel.output import write_whole
from lskel.replay.options import PIN_ROOT, Options


@click.command("explain")
@source_argument
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    shell_complete=offers.files,
    help="Where the page is written [default: NAME.html; of --json, standard output].",
)
@click.option(
    "--against",
    metavar="B",
    shell_complete=offers.files,
    help="Show what differs from this object, bundle or light skeleton header.",
)
@click.option(
    "--measure",
    is_flag=True,
    help="Load for real, call by call, and show how long each took; nothing stays loaded.",
)
@generation_options
@measure_options
@json_option
def command(
    source: str,
    output: str | None,
    against: str | None,
    measure: bool,
    generation: Generation,
    options: Options,
    as_json: bool,
) -> None:
    """Write an HTML page that shows all there is to see of an object or a loader.

    What each byte of the loader's data is; its operations, what they use of each other and the
    calls they make; the programs' instructions beside their source; sizes; and where --measure is
    given, durations. The page is one file and asks no network for anything. An object that lskel
    can open but not load is shown as far as it goes, with what is wrong.

    \b
    Example:
        lskel explain hello.bpf.o -o hello.html
        lskel explain hello.lskel --measure -o hello.html
        lskel explain new.bpf.o --against old.bpf.o -o changes.html
        lskel explain hello.bpf.o --json | jq .ops
    """
    is_named = output is not None
    output = output or (STDIN if as_json else f"{default_name(source)}.html")
    names = (source,) if against is None else (source, against)
    for name in names:
        if same_file(name, output):
            raise UsageError(f"{output}: would overwrite {name}")
    if (options.pin_root != PIN_ROOT or options.trust_pins) and not measure:
        what = "--pin-root and --trust-pins have no meaning without --measure"
        raise UsageError(what, hint="leave them out")
    files = [(read(name), name) for name in names]
    kinds = [kind_of(data) for data, _ in files]
    inputs = [
        _given(data, name, *applicable(kind, kinds, generation, options))
        for (data, name), kind in zip(files, kinds, strict=True)
    ]
    given, options = inputs[0]
    if isinstance(given, Header):
        raise UsageError(
            f"{source}: this is a light skeleton's header, which does not tell its operations",
            hint="compare with it by --against, or use the object that it was generated from",
        )
    with at(source):
        report = explain(given, Request(options, measure, *(inputs[1] if against else ())))
    content = f"{to_json(report)}\n".encode() if as_json else page(report)
    if output == STDIN:
        print_file(content)
    else:
        write_whole(output, content)
        if not is_named:
            note(f"written to {output}")


def _given(
    data: bytes, source: str, generation: Generation, options: Options
) -> tuple[Given | Header, Options]:
    """What was read, and what it is to be run with."""
    name = "standard input" if source == STDIN else Path(source).name
    kind = kind_of(data)
    if kind is Kind.HEADER:
        generation.check_unused(kind.value)
        with at(source):
            return Header(name, parse_header(data.decode("utf-8", "replace"))), options
    found = open_to_look(data, source, generation, options)
    return Given(name, found.opened, found.loader, found.problem), found.options
