"""How commands that load report a program that the verifier rejects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import click

from lskel.cli import completers
from lskel.cli.common import grouped_options, same_file
from lskel.errors import ReplayError, UsageError
from lskel.loader.model import Loader
from lskel.output import write_whole

_MORE = "-v prints them, --log-file FILE writes them to a file"


class LogFile:
    """The file of --log-file, which gets the logs of all failed programs."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lines: list[str] = []

    def add(self, lines: Iterable[str]) -> None:
        """Append a log; UsageError if the file cannot be written."""
        self._lines += lines
        write_whole(self.path, "".join(f"{line}\n" for line in self._lines).encode())


class Failures(NamedTuple):
    """What to print when loading fails."""

    verbose: bool = False
    log_file: LogFile | None = None

    def check_log_file(self, sources: Sequence[str]) -> None:
        """UsageError if the log would overwrite one of the sources."""
        for source in sources:
            if self.log_file is not None and same_file(source, self.log_file.path):
                raise UsageError(f"--log-file {self.log_file.path}: would overwrite {source}")

    @contextmanager
    def explained(self, loader: Loader) -> Iterator[None]:
        """Set `details` of a ReplayError that leaves the block: what the verifier's log means."""
        try:
            yield
        except ReplayError as error:
            if error.log:
                error.details = tuple(self.details(loader, error))
            raise

    def details(self, loader: Loader, error: ReplayError) -> Iterator[str]:
        """What the log of an error means; with -v, the log itself."""
        from lskel.verifier.explain import explain_failure
        from lskel.verifier.render import render

        explanation = explain_failure(error, loader.trace)
        name = explanation.program
        yield from render(explanation)
        if self.verbose:
            yield from log_lines(name, error.log)
        try:
            self.write_log(name, error)
        except UsageError as failure:  # the first error must still be reported
            yield f"  the log was not written: {failure}"
        if self.log_file is None and not self.verbose:
            yield f"  {len(error.log)} lines of log: {_MORE}"

    def write_log(self, program: str, error: ReplayError) -> None:
        """Write an error's log to the --log-file, if any; UsageError if it cannot be written."""
        from lskel.verifier.logs import marked

        if self.log_file is not None:
            self.log_file.add(marked(program, error.log))


def _failures(verbose: bool, log_file: str | None) -> Failures:
    return Failures(verbose, None if log_file is None else LogFile(log_file))


failure_options = grouped_options(
    "failures",
    _failures,
    click.option("-v", "--verbose", is_flag=True, help="On failure, print the whole verifier log."),
    click.option(
        "--log-file",
        metavar="FILE",
        shell_complete=completers.files,
        help="On failure, write the whole verifier log to FILE.",
    ),
)


def log_lines(program: str, lines: Sequence[str]) -> Iterator[str]:
    """A whole log, between marker lines."""
    from lskel.verifier.logs import marked

    return (line.expandtabs() for line in marked(program, lines))
