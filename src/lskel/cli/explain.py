"""lskel explain"""

from __future__ import annotations

from pathlib import Path

import click

from lskel.cli.common import json_option, source_argument
from lskel.cli.generation import Generation, generation_options
from lskel.cli.running import simulation_options
from lskel.cli.sources import generate_from, open_source
from lskel.errors import LskelError, at
from lskel.explain.build import Explained, explain
from lskel.explain.page import page, to_json
from lskel.loader.model import Loader
from lskel.output import write_whole
from lskel.replay.options import Options


@click.command("explain")
@source_argument
@click.option("-o", "--output", required=True, metavar="FILE", help="Where the page is written.")
@generation_options
@simulation_options
@json_option
def command(
    source: str, output: str, generation: Generation, options: Options, as_json: bool
) -> None:
    """Write a page."""
    opened = open_source(source, generation)
    with at(source):
        if isinstance(opened, Loader):
            given = Explained(Path(source).name, None, opened)
        else:
            try:
                given = Explained(Path(source).name, opened, generate_from(opened, generation))
            except LskelError as error:
                given = Explained(Path(source).name, opened, None, str(error))
        report = explain(given, options)
    text = to_json(report) if as_json else page(report)
    write_whole(output, text.encode())
