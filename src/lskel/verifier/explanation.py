"""What is said of a refused program, as data."""

from __future__ import annotations

from typing import Any, NamedTuple

from lskel.describe.plain import plain
from lskel.verifier.causes import Cause
from lskel.verifier.entries import SourceText


class Spot(NamedTuple):
    """A place in a program: an instruction, in the log's words, and the source line it is from.

    `label` says what happens there. `insn` counts 8-byte slots; `text` is empty where the log does
    not have the instruction, and `source` None where neither log nor object have the line.
    """

    insn: int
    text: str
    source: SourceText | None
    label: str = ""


class Register(NamedTuple):
    """What a register holds there, in words, and where it got that."""

    name: str
    meaning: str
    origin: str = ""
    spot: Spot | None = None


class Explanation(NamedTuple):
    """One refused program.

    `message` is what the verifier says, `messages` all that it says there; they are empty where the
    log has none. `cause` is None where the table has none, `note` something that only this log
    tells. `suggestion` and `example` are the cause's, made fit. `spot` is where it is, `others`
    where it comes from or leads to; `context` are source lines around it. `lines` is how many lines
    the log has; it is `whole` where it has the verifier's statistics, with which it ends. A whole
    log without a message is that of a program that was accepted.
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
    """An explanation as JSON has it: the cause without its messages."""
    found: dict[str, Any] = plain(explanation._replace(cause=None))
    if cause := explanation.cause:
        texts = {"id": cause.id, "title": cause.title, "explanation": cause.explanation}
        found["cause"] = texts
    return found
