"""Values of C types as text and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

from lskel import budget
from lskel.errors import printable
from lskel.runtime.values import codec_of
from lskel.runtime.values.arrays import Array, is_text
from lskel.runtime.values.scalars import pointer
from lskel.runtime.values.structs import Composite

# The most items of a list that are printed.
MAX_ITEMS = 64


class HexAddress(int):
    """An address: printed in hexadecimal."""


Plain: TypeAlias = "int | float | str | bytes | list[Plain] | dict[str, Plain]"
Json: TypeAlias = "int | float | str | list[Json] | dict[str, Json]"
_Handler = TypeVar("_Handler")


def to_plain(kind: Any, value: Any) -> Plain:
    """A value of a type of `lskel.runtime.values` as dicts, lists, numbers and text.

    Enumerators become their names; values of unknown types stay bytes. LimitExceeded if the result
    is far larger than the value.
    """
    size = codec_of(kind).size * (len(value) if isinstance(value, list) else 1)
    most = budget.VALUE_PARTS + budget.VALUE_PARTS_A_BYTE * size
    return _plain(kind, value, budget.Allowance(most, "parts of a value"))


def _plain(kind: Any, value: Any, parts: budget.Allowance) -> Plain:
    if isinstance(value, Composite):
        members = value._members_
        parts.spend(len(members))
        return {name: _plain(of, getattr(value, name), parts) for name, of in members.items()}
    if isinstance(value, Array | list | tuple):
        parts.spend(len(value))
        element = kind._type_ if isinstance(kind, type) and issubclass(kind, Array) else kind
        return [_plain(element, item, parts) for item in value]
    if isinstance(value, bytes):
        is_array_of_char = isinstance(kind, type) and is_text(kind)
        return value.decode("utf-8", "backslashreplace") if is_array_of_char else value
    names = getattr(kind, "names_", None)
    if names is not None and value in names:
        return str(names[value].name)
    return HexAddress(value) if kind is pointer else value


def as_text(value: Plain) -> str:
    """One line: ``{pid=1, comm="bash", state=RUNNING, next=0xffff888100000000}``.

    Unprintable characters are escaped.
    """
    return printable(_text(value))


def as_json(value: Plain) -> Json:
    """A value for `json.dumps`: pointers, bytes, infinity and NaN become text."""
    return _handler(_JSONS, value)(value)


def _handler(table: Mapping[type, _Handler], value: Plain) -> _Handler:
    return next(table[cls] for cls in type(value).__mro__ if cls in table)


def _text(value: Plain) -> str:
    return _handler(_TEXTS, value)(value)


def _list(value: list[Plain]) -> str:
    texts = [_text(item) for item in value[:MAX_ITEMS]]
    if len(value) > MAX_ITEMS:
        texts.append(f"... {len(value) - MAX_ITEMS} more")
    return f"[{', '.join(texts)}]"


def _dict(value: dict[str, Plain]) -> str:
    return f"{{{', '.join(f'{name}={_text(part)}' for name, part in value.items())}}}"


_TEXTS: dict[type, Callable[[Any], str]] = {
    bool: lambda value: "true" if value else "false",
    int: lambda value: f"{value:d}",
    HexAddress: lambda value: f"{value:#x}",
    float: repr,
    str: lambda value: json.dumps(value, ensure_ascii=False),
    bytes: lambda value: value.hex(" "),
    list: _list,
    dict: _dict,
}
_JSONS: dict[type, Callable[[Any], Json]] = {
    bool: bool,
    int: int,
    HexAddress: lambda value: f"{value:#x}",
    float: lambda value: value if math.isfinite(value) else repr(value),
    str: str,
    bytes: lambda value: value.hex(),
    list: lambda value: [as_json(item) for item in value],
    dict: lambda value: {name: as_json(part) for name, part in value.items()},
}
