"""lskel disasm"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from lskel.bpf import insn as i
from lskel.cli import completers
from lskel.cli.common import json_option, source_argument
from lskel.cli.generation import Generation, generation_options
from lskel.cli.sources import open_source, to_loader
from lskel.cli.terminal import line, print_json
from lskel.describe.jsonable import jsonable
from lskel.describe.listing import Listing, Row, listing
from lskel.describe.loader_listing import loader_listing
from lskel.errors import UsageError, at
from lskel.loader.model import Bytes, Loader
from lskel.styled_lines import StyledLine, Tone

_NOTES_COLUMN = 40


@click.command("disasm")
@source_argument
@click.option(
    "--program",
    "programs",
    multiple=True,
    metavar="NAME",
    shell_complete=completers.names(completers.programs),
    help="Show only this program; repeatable.",
)
@click.option(
    "--loader",
    "of_loader",
    is_flag=True,
    help="Show the loader program instead of the programs it loads.",
)
@click.option("--raw/--no-raw", help="Also show the bytes of instructions.")
@click.option("--source/--no-source", "lines", default=True, help="Show source lines.")
@generation_options
@json_option
def command(
    source: str,
    programs: tuple[str, ...],
    of_loader: bool,
    raw: bool,
    lines: bool,
    generation: Generation,
    as_json: bool,
) -> None:
    """Show instructions with the names of maps, variables, functions and kernel types.

    Programs are shown as they are loaded: linked with their subprograms, before the kernel applies
    CO-RE relocations. Programs with autoload disabled are shown if named by --program. For a bundle
    whose bytes do not match its description, the programs that the bytes load in the simulator are
    shown.

    \b
    Example:
        lskel disasm hello.bpf.o
        lskel disasm execsnoop.bpf.o --program on_exec --raw --no-source
        lskel disasm hello.lskel --loader
    """
    if of_loader and programs:
        raise UsageError("--program cannot be combined with --loader", hint="remove one")
    if generation.debug and not of_loader:
        raise UsageError("--debug needs --loader", hint="remove it")
    if of_loader:
        shown: Iterable[Listing] = [loader_listing(to_loader(source, generation))]
    else:
        shown = _programs(source, generation, programs)
    if as_json:
        print_json({"programs": [jsonable(item) for item in shown]})
        return
    for number, item in enumerate(shown):
        for text in _text(item, raw=raw, lines=lines, first=not number):
            line(text)


def _programs(source: str, generation: Generation, programs: tuple[str, ...]) -> Iterator[Listing]:
    opened = open_source(source, generation)
    with at(source):
        if isinstance(opened, Loader) and opened.compared is Bytes.DIFFERENT:
            from lskel.replay.simulator.loader_bytes import bare_listing

            yield from bare_listing(opened, programs or None)
        else:
            yield from listing(opened, programs or None)


def _text(item: Listing, *, raw: bool, lines: bool, first: bool) -> Iterator[str]:
    if not first:
        yield ""
    where = f", section {item.section}" if item.section else ""
    yield StyledLine((f"{item.name} ({item.type}{where})", Tone.TITLE))
    if item.problem:
        yield f"; {item.problem}"
    here = None
    for row in item.rows:
        if row.label:
            yield StyledLine((f"{row.label}:", Tone.LABEL))
            here = None
        if lines and row.source is not None and (place := row.source[:2]) != here:
            file, number, _, text = row.source
            shown = f"; {file}:{number}: {text.expandtabs(1).strip()}".rstrip()
            yield StyledLine((shown, Tone.ASIDE))
            here = place
        yield from _row(row, raw=raw)


def _row(row: Row, *, raw: bool) -> Iterator[str]:
    notes = [row.note] if row.note else []
    notes += [f"CO-RE {relo.kind} {relo.target} ({relo.access})" for relo in row.core]
    text = row.text if not notes else f"{row.text:{_NOTES_COLUMN}} ; {'; '.join(notes)}"
    first, *others = (row.raw[at : at + i.SIZE] for at in range(0, len(row.raw), i.SIZE))
    yield f"{row.insn:4}: {first.hex(' '):23} {text}" if raw else f"{row.insn:4}: {text}"
    if raw:
        yield from (f"      {other.hex(' ')}" for other in others)
