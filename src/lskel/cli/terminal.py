"""All that commands print goes through here.

Names, source lines, logs and events come from files and kernels, and anybody may have written them:
what is printed is made printable line by line, and only then coloured.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from lskel.errors import LskelError, UsageError, printable
from lskel.styled_lines import Tone, Toned

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
    """Whether people look at standard output."""
    return sys.stdout.isatty()


def line(text: str = "") -> None:
    """Print a line on standard output."""
    _write(sys.stdout, text)


def fields(*texts: str) -> None:
    """Print a line of fields with tabs between them, for a program."""
    sys.stdout.write("\t".join(map(printable, texts)) + "\n")


def note(text: str) -> None:
    """Print a line on standard error; where that cannot be written, nobody is left to be told."""
    with suppress(OSError):
        _write(sys.stderr, text)


def show_error(error: LskelError) -> None:
    """An error in one line on standard error, and the lines that say more."""
    for text in (f"lskel: {error}", *error.details):
        note(text)


def show_warning(source: str, text: str) -> None:
    """A line on standard error, of what goes on all the same."""
    note(f"lskel: warning: {source}: {text}")


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """JSON, which is ASCII without control characters: for programs, and indented for people."""
    text = json.dumps(value, indent=indent).replace("\x7f", "\\u007f")  # the one that it leaves
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_file(content: bytes) -> None:
    """What would be in a file, on standard output; of text, a terminal gets printable lines."""
    if not is_terminal():
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            "standard output is a terminal, and this is not text",
            hint="redirect it",
        ) from error
    for part in text.splitlines():
        line(part.expandtabs())


def table(rows: Iterable[Sequence[str]], *, title: str = "", headings: Sequence[str] = ()) -> None:
    """A table for a terminal; columns whose heading begins with `#` hold numbers."""
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
        # As text, so that nothing in a name is taken for markup.
        made.add_row(*map(_cell, row))
    console(sys.stdout).print(made)


def _cell(text: str) -> Text:
    from rich.text import Text

    return Text.from_ansi(_coloured(text)) if isinstance(text, Toned) else Text(printable(text))


def _write(stream: TextIO | None, text: str) -> None:
    if stream is not None:
        is_toned = isinstance(text, Toned) and _is_coloured(stream)
        shown = _coloured(text) if is_toned else printable(text)
        stream.write(f"{shown}\n")
        stream.flush()


def _coloured(text: str) -> str:
    pieces = text.pieces if isinstance(text, Toned) else ((text, None),)
    return "".join(
        f"\x1b[{_SGR[tone]}m{printable(piece)}\x1b[0m" if tone else printable(piece)
        for piece, tone in pieces
    )


def _is_coloured(stream: TextIO) -> bool:
    wanted = colour()
    return stream.isatty() if wanted is None else wanted


def colour() -> bool | None:
    """Whether output is coloured; None: where it goes to a terminal.

    NO_COLOR wins over FORCE_COLOR; either counts where it is not empty.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return False if os.environ.get("TERM") in _DUMB else None


def console(file: TextIO) -> Console:
    """What rich writes to a stream with."""
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
    """What is being done, and how much of it is done; nothing where `bar` is None."""

    def __init__(self, bar: Bar | None, total: int) -> None:
        self._bar = bar
        self._task = None if bar is None else bar.add_task("", total=total)

    def now(self, what: str) -> None:
        """What is being done."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=printable(what), refresh=True)

    def advance(self) -> None:
        """One more is done."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Give way to lines that are printed."""
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
    """Show the progress of `total` things on standard error, where that is a terminal that can.

    Elsewhere the lines that the command prints have to do.
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
