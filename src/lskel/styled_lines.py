"""Lines of text whose parts have a tone; the output decides how a tone looks."""

from __future__ import annotations

from enum import Enum


class Tone(Enum):
    """The role of a part of a line."""

    ERROR = "error"
    WARNING = "warning"
    SUCCESS = "success"
    TITLE = "title"
    ASIDE = "aside"
    FRAME = "frame"
    MARK = "mark"
    LABEL = "label"
    CODE = "code"
    REMEDY = "remedy"


class StyledLine(str):
    """A line, and the tone of each of its parts."""

    __slots__ = ("pieces",)

    pieces: tuple[tuple[str, Tone | None], ...]

    def __new__(cls, *pieces: str | tuple[str, Tone]) -> StyledLine:
        pairs = tuple((one, None) if isinstance(one, str) else one for one in pieces)
        line = super().__new__(cls, "".join(text for text, _ in pairs))
        line.pieces = pairs
        return line
