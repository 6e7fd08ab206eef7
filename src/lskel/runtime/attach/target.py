"""The attach target of a program: the caller's, else that of its section name."""

from __future__ import annotations

from enum import Enum

from lskel.errors import UsageError, unknown
from lskel.runtime.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    E = TypeVar("E", bound=Enum)


def is_return(kind: str) -> bool:
    """Whether programs of a section run when functions return."""
    return kind.startswith(("kret", "uret"))


def choice(kind: type[E], given: E | str | int, what: str) -> E:
    """A member of an enum, which may be given by its name, in any case; `what` it is.

    UnknownName lists the names.
    """
    if isinstance(given, str) and given.upper() in kind.__members__:
        return kind[given.upper()]
    try:
        return kind(given)
    except ValueError:
        names = (name.lower() for name in kind.__members__)
        raise unknown(what, str(given), names) from None


def target_of(program: Program, given: str | None, what: str, example: str) -> str:
    """The target; UsageError if there is none.

    `what` (with article) and an `example` of a section name are for the error.
    """
    target = given or program.definition.target
    if not target:
        raise UsageError(
            f"program '{program.name}' has no attach target: expected {what}",
            hint=f'pass it to attach(), or use SEC("{example}")',
        )
    return target
