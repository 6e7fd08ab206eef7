"""What an input says, as Python source: literals, identifiers, and text in docstrings.

All of it is ASCII: nothing is an identifier in one normal form and another in the next, and no
encoding changes what is read.
"""

from __future__ import annotations

import keyword
import re
import zlib
from base64 import b64encode
from collections.abc import Container, Iterable
from textwrap import wrap

from lskel.skeleton.source import Source, join, source, word

_LINE = 92
# Quotes that a text of ours may not have, since it stands between them.
QUOTES = "'''"
# What begins or ends with them says more than a text: quotes, escapes, controls.
_NOT_PLAIN = re.compile(r"""[^ -~]|["'\\]""")


def literal(value: str | bytes | int | tuple[str | int, ...] | None) -> Source:
    """An expression for a value."""
    if isinstance(value, str):
        escaped = value.encode("unicode_escape").decode("ascii").replace('"', '\\"')
        return Source(f'"{escaped}"')
    if isinstance(value, tuple):
        return tuple_of(map(literal, value))
    # That of an enum's member is its number.
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return Source(int.__repr__(value) if is_number else repr(value))


def tuple_of(parts: Iterable[Source]) -> Source:
    """A tuple of expressions, however many there are."""
    return source("({})", join(" ", [source("{},", part) for part in parts]))


def packed(content: bytes) -> Source:
    """A literal of compressed bytes as base64, in lines."""
    lines = wrap(b64encode(zlib.compress(content, 9)).decode(), _LINE)
    return Source('"""\\\n' + "\n".join(lines) + '\n"""')


def verbatim(text: str) -> Source:
    """A literal in which a text of ours stands as it is, in lines."""
    if QUOTES in text or text[-1:] in ("'", "\\"):
        raise AssertionError("the text has the quotes that it is to stand in")
    return Source(f"r{QUOTES}{text}{QUOTES}")


def identifier(name: str, taken: Container[str] = ()) -> Source:
    """An identifier like `name`; one with a `_` behind it where Python, or `taken`, has it already.

    Python has its keywords, and names that begin and end with `_`.
    """
    return _free(word(name), taken)


def attribute(name: str, taken: Container[str] = ()) -> Source:
    """An identifier that is the same within a class, which has `__name` for itself."""
    made = word(name)
    if made.startswith("__"):
        made = Source(f"_{made.lstrip('_')}")
    return _free("unnamed" if made == "_" else made, taken)


def dotted(name: str) -> Source:
    """The name of a module."""
    return join(".", map(identifier, name.split(".")))


def docstring(text: str) -> Source:
    """A part of a line of a docstring; what could end it or change its look becomes `?`."""
    plain = _NOT_PLAIN.sub("?", text[: _LINE + 1])
    return Source(plain if len(plain) <= _LINE else f"{plain[: _LINE - 3]}...")


def _free(made: str, taken: Container[str]) -> Source:
    is_taken = keyword.iskeyword(made) or made in taken or made[0] == made[-1] == "_"
    return Source(f"{made}_" if is_taken else made)
