"""Lines of text whose pieces have a tone; what shows them decides how that looks."""

from __future__ import annotations

from enum import Enum


class Tone(Enum):
    """What a piece of a line is."""

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


class Toned(str):
    """A line, and the tone of each of its pieces."""

    __slots__ = ("pieces",)

    pieces: tuple[tuple[str, Tone | None], ...]

    def __new__(cls, *pieces: str | tuple[str, Tone]) -> Toned:
        pairs = tuple((one, None) if isinstance(one, str) else one for one in pieces)
        line = super().__new__(cls, "".join(text for text, _ in pairs))
        line.pieces = pairs
        return line
