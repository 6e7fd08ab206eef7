"""How output looks: whether it is coloured, and the progress of what takes long."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar

_DUMB = ("dumb", "unknown")


def colour() -> bool | None:
    """Whether output is coloured; None: where it goes to a terminal (as click.Context.color).

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
            self._bar.update(self._task, description=what, refresh=True)

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
