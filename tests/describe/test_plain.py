"""What leaves the program: JSON, and words for what is broken."""

from __future__ import annotations

import json
from typing import NamedTuple

from lskel.describe.jsonable import jsonable, text_or_error
from lskel.errors import BadObject


class _Inner(NamedTuple):
    data: bytes
    names: tuple[str, ...]


class _Outer(NamedTuple):
    inner: _Inner | None
    number: int


def test_plain() -> None:
    records = (_Outer(_Inner(b"\x01\xff", ("a", "b")), 1), _Outer(None, 2))
    expected = [
        {"inner": {"data": "01ff", "names": ["a", "b"]}, "number": 1},
        {"inner": None, "number": 2},
    ]
    assert jsonable(records) == expected
    assert json.loads(json.dumps(jsonable(records))) == expected


def test_readable() -> None:
    def broken() -> str:
        raise BadObject("there is none")

    assert text_or_error(broken) == "<there is none>"
    assert text_or_error(lambda: "fine") == "fine"
