"""What several commands share: arguments, options of one meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from lskel.cli import offers
from lskel.errors import UsageError

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

# What the scripts of `lskel completion` set, to ask what could follow: the command line up to the
# cursor, as it is typed.
TYPED = "_LSKEL_COMPLETE"

_F = TypeVar("_F", bound=Command)


def source_argument(function: _F) -> _F:
    """The argument OBJ|X.lskel, `-` for standard input."""
    return click.argument("source", metavar="OBJ|X.lskel", shell_complete=offers.files)(function)


def sources_argument(function: _F) -> _F:
    """The arguments OBJ|X.lskel..., one or more."""
    return click.argument(
        "sources",
        metavar="OBJ|X.lskel...",
        nargs=-1,
        required=True,
        shell_complete=offers.files,
    )(function)


def json_option(function: _F) -> _F:
    """--json"""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


# For what runs a loader, and for `gen`, whose skeletons carry its bytes.
trust_option = click.option(
    "--trust-bytes",
    is_flag=True,
    help="Accept a bundle whose bytes do not match its description.",
)


def gathered(into: str, make: Callable[..., Any], *options: Decorator) -> Decorator:
    """Adds options to a command, which gets what `make` makes of them as argument `into`."""

    def decorate(function: Command) -> Command:
        @wraps(function)
        def command(**given: Any) -> Any:
            taken = {name: given.pop(name) for name in names}
            return function(**given, **{into: make(**taken)})

        # click keeps the options of a function, innermost first, until it makes a command of it.
        before = len(getattr(command, "__click_params__", ()))
        decorated: Any = command
        for option in reversed(options):
            decorated = option(decorated)
        names = [str(option.name) for option in decorated.__click_params__[before:]]
        return command

    return decorate


def pairs(options: Iterable[str], form: str) -> dict[str, str]:
    """Options of the form KEY=VALUE; UsageError, which names `form`, where one is not."""
    found: dict[str, str] = {}
    for option in options:
        key, sign, value = option.partition("=")
        if not (key and sign and value):
            raise UsageError(f"'{option}' is not {form}")
        if key in found:
            raise UsageError(f"'{key}' is given twice, as {found[key]} and as {value}")
        found[key] = value
    return found


def only_for_one(command: str, options: Iterable[str], sources: Sequence[str]) -> None:
    """UsageError where there are options given that name parts of an object, and many objects."""
    given = ", ".join(options)
    if given and len(sources) > 1:
        raise UsageError(f"{given}: only for one object", hint=f"run {command} for each")


def same_file(source: str, output: str) -> bool:
    """Whether writing the output would overwrite what it is made from."""
    try:
        return Path(source).samefile(output) and Path(output).is_file()
    except OSError:  # one of them does not exist, or is not to be seen; reading or writing says so
        return False
