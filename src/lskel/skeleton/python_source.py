"""Text of inputs as Python source: literals, identifiers, and docstring text.

All of it is ASCII: Unicode normalization cannot change an identifier, and no encoding changes the
meaning.
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
# Quotes around verbatim text, which must not contain them.
QUOTES = "'''"
# Not plain text: quotes, escapes, control characters.
_NOT_PLAIN = re.compile(r"""[^ -~]|["'\\]""")


def literal(value: str | bytes | int | tuple[str | int, ...] | None) -> Source:
    """An expression for a value."""
    if isinstance(value, str):
        escaped = value.encode("unicode_escape").decode("ascii").replace('"', '\\"')
        return Source(f'"{escaped}"')
    if isinstance(value, tuple):
        return tuple_of(map(literal, value))
    # For an enum member, its number.
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return Source(int.__repr__(value) if is_number else repr(value))


def tuple_of(parts: Iterable[Source]) -> Source:
    """A tuple of any number of expressions."""
    return source("({})", join(" ", [source("{},", part) for part in parts]))


def packed(content: bytes) -> Source:
    """A literal of compressed bytes in base64, in several lines."""
    lines = wrap(b64encode(zlib.compress(content, 9)).decode(), _LINE)
    return Source('"""\\\n' + "\n".join(lines) + '\n"""')


def verbatim(text: str) -> Source:
    """A literal with unchanged lines of lskel's own text."""
    if QUOTES in text or text[-1:] in ("'", "\\"):
        raise AssertionError("the text contains the quotes of its literal")
    return Source(f"r{QUOTES}{text}{QUOTES}")


def identifier(name: str, taken: Container[str] = ()) -> Source:
    """An identifier for `name`, with a trailing `_` if it is reserved in Python or in `taken`.

    Reserved are keywords, and names that begin and end with `_`.
    """
    return _free(word(name), taken)


def attribute(name: str, taken: Container[str] = ()) -> Source:
    """An identifier that is not mangled in a class, as `__name` is."""
    made = word(name)
    if made.startswith("__"):
        made = Source(f"_{made.lstrip('_')}")
    return _free("unnamed" if made == "_" else made, taken)


def dotted(name: str) -> Source:
    """A module name."""
    return join(".", map(identifier, name.split(".")))


def docstring(text: str) -> Source:
    """Text for a docstring line; what could end the docstring or is not printable becomes `?`."""
    plain = _NOT_PLAIN.sub("?", text[: _LINE + 1])
    return Source(plain if len(plain) <= _LINE else f"{plain[: _LINE - 3]}...")


def _free(made: str, taken: Container[str]) -> Source:
    is_taken = keyword.iskeyword(made) or made in taken or made[0] == made[-1] == "_"
    return Source(f"{made}_" if is_taken else made)
