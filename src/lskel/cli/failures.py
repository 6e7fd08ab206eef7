"""What commands that load say of a program that the verifier refuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import click

from lskel.cli import offers
from lskel.cli.common import gathered, same_file
from lskel.errors import ReplayError, UsageError
from lskel.loader.model import Loader
from lskel.output import write_whole

_MORE = "-v prints them, --log-file FILE writes them to a file"


class LogFile:
    """The file of --log-file, which gets the logs of all that fails."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lines: list[str] = []

    def add(self, lines: Iterable[str]) -> None:
        """Write it with one more log; UsageError where it cannot be written."""
        self._lines += lines
        write_whole(self.path, "".join(f"{line}\n" for line in self._lines).encode())


class Failures(NamedTuple):
    """What is to be told when loading fails."""

    verbose: bool = False
    log_file: LogFile | None = None

    def check_log_file(self, sources: Sequence[str]) -> None:
        """UsageError where the log would be written over one of the sources."""
        for source in sources:
            if self.log_file is not None and same_file(source, self.log_file.path):
                raise UsageError(f"--log-file {self.log_file.path}: would overwrite {source}")

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
        from lskel.verifier.render import render

        explanation = explain_failure(error, loader.trace)
        name = explanation.program
        yield from render(explanation)
        if self.verbose:
            yield from log_lines(name, error.log)
        try:
            self.write_log(name, error)
        except UsageError as failure:  # what failed first is still the one to be told
            yield f"  the log is not in a file: {failure}"
        if self.log_file is None and not self.verbose:
            yield f"  {len(error.log)} lines of log: {_MORE}"

    def write_log(self, program: str, error: ReplayError) -> None:
        """Write an error's log to the file, if one is wanted; UsageError where it cannot be."""
        from lskel.verifier.logs import marked

        if self.log_file is not None:
            self.log_file.add(marked(program, error.log))


def _failures(verbose: bool, log_file: str | None) -> Failures:
    return Failures(verbose, None if log_file is None else LogFile(log_file))


failure_options = gathered(
    "failures",
    _failures,
    click.option(
        "-v", "--verbose", is_flag=True, help="On failure, print the verifier's whole log."
    ),
    click.option(
        "--log-file",
        metavar="FILE",
        shell_complete=offers.files,
        help="On failure, write the verifier's whole log to FILE.",
    ),
)


def log_lines(program: str, lines: Sequence[str]) -> Iterator[str]:
    """A whole log, between marks."""
    from lskel.verifier.logs import marked

    return (line.expandtabs() for line in marked(program, lines))
