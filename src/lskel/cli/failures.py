"""What commands that load say of a program that the verifier refuses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import click

from lskel.cli.common import gathered
from lskel.errors import ReplayError
from lskel.loader.model import Loader

if TYPE_CHECKING:
    from lskel.verifier.explanation import Explanation

_MORE = "-v prints them, --log-file FILE writes them to a file"


class Failures(NamedTuple):
    """What is to be told when loading fails."""

    verbose: bool = False
    log_file: TextIO | None = None

    @contextmanager
    def explained(self, loader: Loader) -> Iterator[None]:
        """Give a ReplayError that leaves the block `details`: what the verifier's log means."""
        try:
            yield
        except ReplayError as error:
            if error.log:
                error.details = tuple(self.details(loader, error))
            raise

    def details(self, loader: Loader, error: ReplayError) -> Iterator[str]:
        """What the log of an error means; the log itself, where that is asked for."""
        from lskel.verifier.explain import explain_failure
        from lskel.verifier.logs import marked

        explanation = explain_failure(error, loader.trace)
        name = explanation.program
        yield from explanation_lines(explanation)
        if self.verbose:
            yield from marked(name, error.log)
        self.write_log(name, error)
        if self.log_file is None and not self.verbose:
            yield f"  {len(error.log)} lines of log: {_MORE}"

    def write_log(self, program: str, error: ReplayError) -> None:
        """Write the log of an error to the file, where that is asked for."""
        from lskel.verifier.logs import marked

        if self.log_file is not None:
            self.log_file.writelines(f"{line}\n" for line in marked(program, error.log))


failure_options = gathered(
    "failures",
    Failures,
    click.option(
        "-v", "--verbose", is_flag=True, help="On failure, print the verifier's whole log."
    ),
    click.option(
        "--log-file",
        type=click.File("w", encoding="utf-8", lazy=True),
        metavar="FILE",
        help="On failure, write the verifier's whole log to FILE.",
    ),
)


def explanation_lines(explanation: Explanation) -> Sequence[str]:
    """An explanation for a terminal."""
    from lskel.verifier.render import Tone, render

    styles: dict[Tone, dict[str, Any]] = {
        Tone.ERROR: {"fg": "red", "bold": True},
        Tone.TITLE: {"bold": True},
        Tone.FRAME: {"fg": "blue"},
        Tone.MARK: {"fg": "red"},
        Tone.LABEL: {"bold": True},
        Tone.CODE: {"fg": "green"},
    }
    return list(render(explanation, lambda text, tone: click.style(text, **styles[tone])))
