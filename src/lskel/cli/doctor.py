"""lskel doctor"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import click

from lskel.cli import completers
from lskel.cli.common import json_option
from lskel.cli.failures import Failures, failure_options
from lskel.cli.generation import Generation, generation_options
from lskel.cli.run_options import run_options
from lskel.cli.sources import to_run
from lskel.cli.status import Status
from lskel.cli.terminal import is_terminal, line, print_json, table
from lskel.doctor import report
from lskel.doctor.finding import Answer
from lskel.doctor.object import ObjectReport, examine_object
from lskel.doctor.tables import MARKS, Table, TableRow, object_tables, tables
from lskel.errors import UsageError
from lskel.loader.model import Loader
from lskel.replay.options import DEFAULTS, Options
from lskel.runtime.token import using_token
from lskel.styled_lines import StyledLine, Tone

_KERNEL, _DIRECT = "kernel", "direct"
_TONES = {Answer.YES: Tone.SUCCESS, Answer.NO: Tone.MARK, Answer.UNKNOWN: Tone.WARNING}


@click.command("doctor")
@click.argument("source", metavar="[OBJ|X.lskel]", required=False, shell_complete=completers.files)
@click.option(
    "--replay",
    type=click.Choice([_KERNEL, _DIRECT]),
    default=_KERNEL,
    show_default=True,
    help="Test loading with the loader program, or with direct system calls.",
)
@failure_options
@generation_options
@run_options
@json_option
def command(
    source: str | None,
    replay: str,
    failures: Failures,
    generation: Generation,
    options: Options,
    as_json: bool,
) -> int:
    """Check what this machine supports; each problem is followed by a remedy.

    With an object or a bundle: check whether it would load here and, if not, list every problem.

    Each feature is tested by using it, and the test is undone at once. Exit status 0: loader
    programs run, or the object would load; 1: not; 2: unknown because of an error.

    \b
    Example:
        lskel doctor
        lskel doctor hello.bpf.o
        lskel doctor probe.lskel --target on_call=do_unlinkat --json
    """
    if source is None:
        for_objects = (replay, failures, generation, replace(options, token_path=None))
        if for_objects != (_KERNEL, Failures(), Generation(), DEFAULTS):
            raise UsageError("these options need an object", hint="lskel doctor OBJ|X.lskel")
        with using_token(options.token_path):
            return _machine(as_json)
    failures.check_log_file((source,))
    loader, options = to_run(source, generation, options)
    with using_token(options.token_path):  # also for what is tried apart from the load
        examined = examine_object(loader, options, direct=replay == _DIRECT)
    _tell(loader, examined, failures, as_json)
    return Status.OK if examined.loads else Status.FAILURE


def _machine(as_json: bool) -> int:
    examined = report.examine()
    if as_json:
        print_json(report.as_json(examined))
    else:
        _show(tables(examined))
        line(str(examined.verdict))
    return Status.OK if examined.verdict.runs else Status.FAILURE


def _tell(loader: Loader, examined: ObjectReport, failures: Failures, as_json: bool) -> None:
    refused = [(i.name, i.error) for i in examined.items if i.error is not None and i.error.log]
    if as_json:
        print_json(report.object_as_json(examined, verbose=failures.verbose))
        for name, error in refused:
            failures.write_log(name, error)
        return
    _show(object_tables(examined))
    for _, error in refused:
        for text in failures.details(loader, error):
            line(text)
        line()
    line(str(examined))


def _show(shown: Iterable[Table]) -> None:
    show = _show_rich if is_terminal() else _show_plain
    show(shown)


def _show_plain(shown: Iterable[Table]) -> None:
    for part in shown:
        line(part.title)
        width = max((len(row.title) for row in part.rows), default=0)
        for row in part.rows:
            line(f"  {MARKS[row.answer]:2}  {row.title:{width}}  {row.said}".rstrip())
            if row.remedy:
                line(f"  {'':2}  {'':{width}}  -> {row.remedy}")
        line()


def _show_rich(shown: Iterable[Table]) -> None:
    for part in shown:
        line(StyledLine((part.title, Tone.TITLE)))
        table(row for said in part.rows for row in _rich_rows(said))
        line()


def _rich_rows(row: TableRow) -> Iterator[tuple[str, str, str]]:
    mark = f"  {MARKS[row.answer]}"
    tone = None if row.answer is None else _TONES[row.answer]
    yield StyledLine((mark, tone)) if tone else mark, row.title, row.said
    if row.remedy:
        yield "", "", StyledLine((f"-> {row.remedy}", Tone.REMEDY))
