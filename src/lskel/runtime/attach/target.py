"""The attach target of a program: the caller's, else that of its section name."""

from __future__ import annotations

from lskel.errors import UsageError
from lskel.runtime.program import Program


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
