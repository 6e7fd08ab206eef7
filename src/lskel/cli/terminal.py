"""All output of commands.

Names, source lines, logs and events come from files and kernels and are not trusted: each line is
made printable, then coloured.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from lskel.errors import LskelError, UsageError, printable
from lskel.styled_lines import StyledLine, Tone

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.text import Text

_DUMB = ("dumb", "unknown")
# Parameters of Select Graphic Rendition (ECMA-48, 8.3.117).
_SGR = {
    Tone.ERROR: "31;1",
    Tone.WARNING: "33",
    Tone.SUCCESS: "32",
    Tone.TITLE: "1",
    Tone.ASIDE: "2",
    Tone.FRAME: "34",
    Tone.MARK: "31",
    Tone.LABEL: "1",
    Tone.CODE: "32",
    Tone.REMEDY: "36",
}


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def line(text: str = "") -> None:
    """Print a line on standard output."""
    _write(sys.stdout, text)


def fields(*texts: str) -> None:
    """Print a line of fields separated by tabs, for programs."""
    sys.stdout.write("\t".join(map(printable, texts)) + "\n")


def note(text: str) -> None:
    """Print a line on standard error; errors of standard error itself are ignored."""
    with suppress(OSError):
        _write(sys.stderr, text)


def show_error(error: LskelError) -> None:
    """Print an error on one line of standard error, and its details."""
    for text in (f"lskel: {error}", *error.details):
        note(text)


def show_warning(source: str, text: str) -> None:
    """Print a warning on standard error."""
    note(f"lskel: warning: {source}: {text}")


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print JSON, in ASCII without control characters."""
    text = json.dumps(value, indent=indent).replace(
        "\x7f", "\\u007f"
    )  # json.dumps does not escape it
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_file(content: bytes) -> None:
    """Write the content of a file to standard output; a terminal gets printable lines of text."""
    if not is_terminal():
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            "standard output is a terminal, and the output is binary",
            hint="redirect it",
        ) from error
    for part in text.splitlines():
        line(part.expandtabs())


def table(rows: Iterable[Sequence[str]], *, title: str = "", headings: Sequence[str] = ()) -> None:
    """Print a table; columns whose heading begins with `#` hold numbers."""
    from rich import box
    from rich.table import Table

    if headings:
        made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    else:
        made = Table.grid(padding=(0, 2, 0, 0))
    for heading in headings:
        justify: Any = "right" if heading.startswith("#") else "left"
        made.add_column(heading.removeprefix("#"), justify=justify, overflow="fold")
    for row in rows:
        while len(made.columns) < len(row):
            made.add_column(overflow="fold")
        # As Text, so that a name is not parsed as markup.
        made.add_row(*map(_cell, row))
    console(sys.stdout).print(made)


def _cell(text: str) -> Text:
    from rich.text import Text

    return (
        Text.from_ansi(_coloured(text)) if isinstance(text, StyledLine) else Text(printable(text))
    )


def _write(stream: TextIO | None, text: str) -> None:
    if stream is not None:
        is_toned = isinstance(text, StyledLine) and _is_coloured(stream)
        shown = _coloured(text) if is_toned else printable(text)
        stream.write(f"{shown}\n")
        stream.flush()


def _coloured(text: str) -> str:
    pieces = text.pieces if isinstance(text, StyledLine) else ((text, None),)
    return "".join(
        f"\x1b[{_SGR[tone]}m{printable(piece)}\x1b[0m" if tone else printable(piece)
        for piece, tone in pieces
    )


def _is_coloured(stream: TextIO) -> bool:
    wanted = colour()
    return stream.isatty() if wanted is None else wanted


def colour() -> bool | None:
    """Whether output is coloured; None: if it is a terminal.

    NO_COLOR takes precedence over FORCE_COLOR; an empty value counts as unset.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return False if os.environ.get("TERM") in _DUMB else None


def console(file: TextIO) -> Console:
    """The rich console of a stream."""
    from rich.console import Console

    wanted, is_terminal = colour(), file.isatty()
    if wanted is None:
        wanted = is_terminal
    return Console(
        file=file,
        force_terminal=is_terminal or wanted,
        color_system="auto" if wanted else None,
    )


class Progress:
    """A progress bar; does nothing if `bar` is None."""

    def __init__(self, bar: Bar | None, total: int) -> None:
        self._bar = bar
        self._task = None if bar is None else bar.add_task("", total=total)

    def now(self, what: str) -> None:
        """Set the description."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=printable(what), refresh=True)

    def advance(self) -> None:
        """Advance by one."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Hide the bar while lines are printed."""
        if self._bar is None:
            yield
            return
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()


@contextmanager
def progress(total: int, *, shown: bool) -> Iterator[Progress]:
    """Show a progress bar of `total` items if standard error is a capable terminal.

    Otherwise the lines that the command prints suffice.
    """
    if not (shown and total > 1 and sys.stderr.isatty()) or os.environ.get("TERM") in _DUMB:
        yield Progress(None, total)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
    )
    with Bar(
        *columns,
        console=console(sys.stderr),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as bar:
        yield Progress(bar, total)
