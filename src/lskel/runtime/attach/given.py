"""What a program attaches to: what the caller says, else what its section's name does."""

from __future__ import annotations

from lskel.errors import UsageError
from lskel.runtime.program import Program


def target_of(program: Program, given: str | None, what: str, example: str) -> str:
    """The target; UsageError where nobody says one.

    `what` it is, with its article, and a section's name as an `example` are for that error.
    """
    target = given or program.definition.target
    if not target:
        raise UsageError(
            f"program '{program.name}' does not say {what} to attach to",
            hint=f'give it to attach(), or SEC("{example}")',
        )
    return target
