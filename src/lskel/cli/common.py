"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from lskel.cli import completers
from lskel.errors import UsageError

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

# Set by the scripts of `lskel completion` to request completions: the command line up to the
# cursor, as typed.
TYPED = "_LSKEL_COMPLETE"

_F = TypeVar("_F", bound=Command)


def source_argument(function: _F) -> _F:
    """The argument OBJ|X.lskel, `-` for standard input."""
    return click.argument("source", metavar="OBJ|X.lskel", shell_complete=completers.files)(
        function
    )


def sources_argument(function: _F) -> _F:
    """The arguments OBJ|X.lskel..., one or more."""
    return click.argument(
        "sources",
        metavar="OBJ|X.lskel...",
        nargs=-1,
        required=True,
        shell_complete=completers.files,
    )(function)


def json_option(function: _F) -> _F:
    """--json"""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


# For commands that run a loader, and for `gen`: skeletons carry the loader's bytes.
trust_option = click.option(
    "--trust-bytes",
    is_flag=True,
    help="Accept a bundle whose bytes do not match its description.",
)


def grouped_options(into: str, make: Callable[..., Any], *options: Decorator) -> Decorator:
    """Add options to a command, which gets the result of `make` for them as argument `into`."""

    def decorate(function: Command) -> Command:
        @wraps(function)
        def command(**given: Any) -> Any:
            taken = {name: given.pop(name) for name in names}
            return function(**given, **{into: make(**taken)})

        # click collects the options of a function, innermost first.
        before = len(getattr(command, "__click_params__", ()))
        decorated: Any = command
        for option in reversed(options):
            decorated = option(decorated)
        names = [str(option.name) for option in decorated.__click_params__[before:]]
        return command

    return decorate


def pairs(options: Iterable[str], form: str) -> dict[str, str]:
    """Parse options of the form KEY=VALUE; UsageError names `form` if one is not."""
    found: dict[str, str] = {}
    for option in options:
        key, sign, value = option.partition("=")
        if not (key and sign and value):
            raise UsageError(f"expected {form}, got '{option}'")
        if key in found:
            raise UsageError(f"'{key}' given twice: as {found[key]} and as {value}")
        found[key] = value
    return found


def only_for_one(command: str, options: Iterable[str], sources: Sequence[str]) -> None:
    """UsageError if options name parts of an object, but several objects are given."""
    given = ", ".join(options)
    if given and len(sources) > 1:
        raise UsageError(f"{given}: only for one object", hint=f"run {command} for each")


def same_file(source: str, output: str) -> bool:
    """Whether writing the output would overwrite the input."""
    try:
        return Path(source).samefile(output) and Path(output).is_file()
    except OSError:  # one does not exist or is not accessible; reading or writing it reports that
        return False
