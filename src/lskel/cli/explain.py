"""lskel explain"""

from __future__ import annotations

from pathlib import Path

import click

from lskel.cli import completers
from lskel.cli.common import json_option, same_file, source_argument
from lskel.cli.generation import Generation, generation_options
from lskel.cli.run_options import measure_options
from lskel.cli.sources import (
    STDIN,
    FileKind,
    applicable,
    default_name,
    kind_of,
    open_for_display,
    read,
)
from lskel.cli.terminal import note, print_file
from lskel.errors import UsageError, at
from lskel.explain.build import HeaderInput, ReportExtras, ReportInput, explain
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
    shell_complete=completers.files,
    help="The output file [default: NAME.html; with --json, standard output].",
)
@click.option(
    "--against",
    metavar="B",
    shell_complete=completers.files,
    help="Show the differences from this object, bundle or light skeleton header.",
)
@click.option(
    "--measure",
    is_flag=True,
    help="Load into the running kernel, call by call, and show how long each call took; nothing "
    "stays loaded.",
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
    """Write an HTML page that shows all of an object or a loader.

    It shows what each byte of the loader's data is; the operations, their dependencies and system
    calls; the programs' instructions next to their source; sizes; and with --measure, durations.
    The page is one file and needs no network. An object that lskel can open but not load is shown
    as far as possible, with the error.

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
    is_for_load = options.pin_root != PIN_ROOT or options.trust_pins
    if (is_for_load or options.token_path is not None) and not measure:
        what = "--pin-root, --trust-pins and --token-path need --measure"
        raise UsageError(what, hint="remove them")
    files = [(read(name), name) for name in names]
    kinds = [kind_of(data) for data, _ in files]
    inputs = [
        _given(data, name, *applicable(kind, kinds, generation, options))
        for (data, name), kind in zip(files, kinds, strict=True)
    ]
    given, options = inputs[0]
    if isinstance(given, HeaderInput):
        raise UsageError(
            f"{source}: a light skeleton header does not contain the operations",
            hint="compare with it by --against, or use the object it was generated from",
        )
    with at(source):
        report = explain(given, ReportExtras(options, measure, *(inputs[1] if against else ())))
    content = f"{to_json(report)}\n".encode() if as_json else page(report)
    if output == STDIN:
        print_file(content)
    else:
        write_whole(output, content)
        if not is_named:
            note(f"written to {output}")


def _given(
    data: bytes, source: str, generation: Generation, options: Options
) -> tuple[ReportInput | HeaderInput, Options]:
    """The input, and the options to run it with."""
    name = "standard input" if source == STDIN else Path(source).name
    kind = kind_of(data)
    if kind is FileKind.HEADER:
        generation.check_unused(kind.value)
        with at(source):
            return HeaderInput(name, parse_header(data.decode("utf-8", "replace"))), options
    found = open_for_display(data, source, generation, options)
    return ReportInput(name, found.opened, found.loader, found.problem), found.options
