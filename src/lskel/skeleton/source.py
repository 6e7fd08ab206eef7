"""Source text of generated files, distinguished by type from text of inputs.

A name in an object may contain quotes, newlines, or the end of a comment. So no input text is
written unchanged: each language has functions that convert it to a literal, an identifier or a
comment (`python_source`, `c_source`), and return `Source`. Templates accept only `Source` and
integers; tests/skeleton/test_source.py checks that `source` gets constant texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2


# Maximum length of a name in a generated file, which repeats it often; longer ones are cut.
LONGEST = 255


class Source(str):
    """Text that is safe in a generated file.

    Created by `source` and `join`, and by the quoting functions of a language.
    """

    __slots__ = ()


def source(text: str, *parts: Source | int, **named: Source | int) -> Source:
    """A constant text with `parts` in it (`str.format`); TypeError if a part is not Source."""
    for part in (*parts, *named.values()):
        _checked(part)
    return Source(text.format(*parts, **named))


def join(separator: str, parts: Iterable[Source | int]) -> Source:
    """Source texts with a constant between them."""
    return Source(separator.join(str(_checked(part)) for part in parts))


def word(name: str) -> Source:
    """The name as an identifier, or part of one: invalid characters become `_`.

    It may be a reserved word of the language.
    """
    made = re.sub(r"\W", "_", name[:LONGEST], flags=re.ASCII) or "_"
    return Source(f"_{made}" if made[0].isdigit() else made)


class Scope:
    """Unique names; those of `taken` are in use."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        # The last number per name, so that equal names are not tried from the start.
        self._numbers = dict.fromkeys(taken, 1)

    def claim(self, name: Source) -> Source:
        """The name, or if it is taken, the first free one of `name_2`, `name_3` ..."""
        made = name
        while made in self._numbers:
            self._numbers[name] += 1
            made = source("{}_{}", name, self._numbers[name])
        self._numbers[made] = 1
        return made


def template(
    name: str, filters: Mapping[str, Callable[..., Any]], *, trim: bool = False
) -> jinja2.Template:
    """A template of lskel.skeleton; rendering raises TypeError unless all output is Source or int.

    `filters` are the functions of the file's language that return Source. With `trim`, lines with
    only a block leave no empty line.
    """
    return _environment(tuple(filters.items()), trim).get_template(name)


@cache
def _environment(
    filters: tuple[tuple[str, Callable[..., Any]], ...], trim: bool
) -> jinja2.Environment:
    # Imported on use: the import takes longer than most objects.
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
    raise TypeError(f"{value!r} would be written unquoted to a generated file")
