"""The explanation of a rejected program, as data."""

from __future__ import annotations

from typing import Any, NamedTuple

from lskel.describe.jsonable import jsonable
from lskel.verifier.causes import Cause
from lskel.verifier.entries import SourceText


class Spot(NamedTuple):
    """A location in a program: an instruction as in the log, and its source line.

    `label` says what happens there. `insn` counts 8-byte slots; `text` is empty if the log lacks
    the instruction, `source` is None if neither the log nor the object has the line.
    """

    insn: int
    text: str
    source: SourceText | None
    label: str = ""


class Register(NamedTuple):
    """A register: its value in words, and where the value comes from."""

    name: str
    meaning: str
    origin: str = ""
    spot: Spot | None = None


class Explanation(NamedTuple):
    """One rejected program.

    `message` is the verifier's message, `messages` all its final messages; empty if the log has
    none. `cause` is None if the table has none; `note` is a fact of this log. `suggestion` and
    `example` are the cause's, adapted. `spot` is the location of the error, `others` are related
    locations; `context` are source lines around it. `lines` is the number of lines of the log; it
    is `whole` if it ends with the verifier's statistics. A whole log without a message is that of
    an accepted program.
    """

    program: str
    function: str
    message: str
    messages: tuple[str, ...]
    cause: Cause | None
    suggestion: str
    example: str
    note: str
    spot: Spot | None
    others: tuple[Spot, ...]
    context: tuple[SourceText, ...]
    registers: tuple[Register, ...]
    lines: int
    whole: bool


def to_json(explanation: Explanation) -> dict[str, Any]:
    """An explanation for JSON: the cause without its messages."""
    found: dict[str, Any] = jsonable(explanation._replace(cause=None))
    if cause := explanation.cause:
        texts = {"id": cause.id, "title": cause.title, "explanation": cause.explanation}
        found["cause"] = texts
    return found
