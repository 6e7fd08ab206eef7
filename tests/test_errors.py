"""Errors as people see them: places, what, hint; one line that cannot move a cursor."""

from __future__ import annotations

import pytest

from lskel.errors import BadObject, LskelError, at, printable


def test_places_come_first_and_outermost() -> None:
    with pytest.raises(LskelError) as caught, at("x.o"), at("section .maps", "map 'm'"):
        raise BadObject("is wrong", hint="mend it")
    assert str(caught.value) == "x.o: section .maps: map 'm': is wrong (mend it)"
    assert isinstance(caught.value, ValueError)


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), at("x.o"):
        raise KeyError("k")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("größe 大小", "größe 大小"),
        ("a\tb", r"a\tb"),
        ("a\x1b[2Jb\r\n", r"a\x1b[2Jb\r\n"),
        ("\u202e\ud800", r"\u202e\ud800"),
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert printable(text) == expected
    assert printable(text).isprintable()
