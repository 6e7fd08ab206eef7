"""lskel doctor"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from lskel.cli.common import json_option, print_json
from lskel.doctor import report
from lskel.doctor.finding import Answer
from lskel.doctor.shown import MARKS, Table, tables
from lskel.errors import printable

_COLOURS = {Answer.YES: "green", Answer.NO: "red", Answer.UNKNOWN: "yellow", None: ""}


@click.command("doctor")
@json_option
def command(as_json: bool) -> int:
    """Say what this machine allows and what is missing, each line with its remedy.

    Everything is found out by doing it; all of it is undone at once. Exit status 0 where loader
    programs run, 1 where they do not.

    \b
    Example:
        lskel doctor
        lskel doctor --json
    """
    examined = report.examine()
    if as_json:
        print_json(report.as_json(examined))
    else:
        _show(tables(examined), str(examined.verdict))
    return 0 if examined.verdict.runs else 1


def _show(shown: Iterable[Table], verdict: str) -> None:
    show = _show_rich if sys.stdout.isatty() else _show_plain
    show(shown)
    click.echo(verdict)


def _show_plain(shown: Iterable[Table]) -> None:
    for table in shown:
        click.echo(table.title)
        width = max((len(row.title) for row in table.rows), default=0)
        for row in table.rows:
            line = f"  {MARKS[row.answer]:2}  {row.title:{width}}  {row.said}"
            click.echo(printable(line.rstrip()))
            if row.remedy:
                click.echo(printable(f"  {'':2}  {'':{width}}  -> {row.remedy}"))
        click.echo()


def _show_rich(shown: Iterable[Table]) -> None:
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    console = Console()
    for table in shown:
        console.print(Text(table.title, style="bold"))
        grid = Grid.grid(padding=(0, 2, 0, 0))
        for _ in range(3):
            grid.add_column(overflow="fold")
        for row in table.rows:
            said = Text(printable(row.said))
            if row.remedy:
                said.append(f"\n-> {printable(row.remedy)}", style="cyan")
            mark = Text(f"  {MARKS[row.answer]}", style=_COLOURS[row.answer])
            # As text, so that nothing in a name is taken for markup.
            grid.add_row(mark, Text(printable(row.title)), said)
        console.print(grid)
        console.print()
