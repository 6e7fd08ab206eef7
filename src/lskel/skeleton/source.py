"""Source text of a generated file, kept apart from the text of inputs by its type.

A name in an object may hold quotes, newlines, or the end of a comment. So nothing reaches a
generated file as it is: each language has functions that make a literal, an identifier or a comment
of it (`python_source`, `c_source`), and what they return is `Source`. Templates take `Source` and
integers, nothing else; tests/skeleton/test_source.py holds `source` to constant texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2


# Characters of a name in a generated file, which repeats it often; longer ones are cut.
LONGEST = 255


class Source(str):
    """Text that may stand in a generated file.

    Made by `source` and `join`, and by the functions of a language that quote what they are given.
    """

    __slots__ = ()


def source(text: str, *parts: Source | int, **named: Source | int) -> Source:
    """A constant text with `parts` in it (`str.format`); TypeError where a part is not Source."""
    for part in (*parts, *named.values()):
        _checked(part)
    return Source(text.format(*parts, **named))


def join(separator: str, parts: Iterable[Source | int]) -> Source:
    """Source texts with a constant between them."""
    return Source(separator.join(str(_checked(part)) for part in parts))


def word(name: str) -> Source:
    """The name as an identifier, or part of one: what cannot stand there becomes `_`.

    It may be a reserved word of the language.
    """
    made = re.sub(r"\W", "_", name[:LONGEST], flags=re.ASCII) or "_"
    return Source(f"_{made}" if made[0].isdigit() else made)


class Scope:
    """Names of which each stands for one thing; those of `taken` have theirs already."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        # The last number after a name: names that all look alike are not tried again.
        self._numbers = dict.fromkeys(taken, 1)

    def claim(self, name: Source) -> Source:
        """The name, or where it is taken, the first of `name_2`, `name_3` ... that is not."""
        made = name
        while made in self._numbers:
            self._numbers[name] += 1
            made = source("{}_{}", name, self._numbers[name])
        self._numbers[made] = 1
        return made


def template(
    name: str, filters: Mapping[str, Callable[..., Any]], *, trim: bool = False
) -> jinja2.Template:
    """A template of lskel.skeleton; rendering raises TypeError for any output but Source and int.

    `filters` are the functions of the file's language that make Source. With `trim`, lines
    that hold only a block leave no empty line.
    """
    return _environment(tuple(filters.items()), trim).get_template(name)


@cache
def _environment(
    filters: tuple[tuple[str, Callable[..., Any]], ...], trim: bool
) -> jinja2.Environment:
    # Imported where it is needed: it takes longer than most objects.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lskel.skeleton"),
        undefined=StrictUndefined,
        finalize=_checked,
        keep_trailing_newline=True,
        trim_blocks=trim,
        lstrip_blocks=trim,
        autoescape=False,
    )
    environment.filters.update(filters)
    return environment


def _checked(value: Any) -> Any:
    if isinstance(value, Source) or type(value) is int:
        return value
    raise TypeError(f"{value!r} would get into a generated file as it is")
