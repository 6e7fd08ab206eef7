"""What counts as printed as shown, and what does not."""

from __future__ import annotations

import pytest

from tests.docs.expected import is_shown


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("one two", "one two\n"),
        ("a  b\nc", "a b c"),
        ("...\nlast", "first\nlast"),
        ("...\nonly", "only"),
        ("first\n...", "first"),
        ("first\n...\nlast", "first\nlast"),
        ("first\n...\nlast", "first\nmiddle\nlast"),
        ("map(type=ARRAY, ...) = 3", "map(type=ARRAY, size=4, name=x) = 3"),
        ("id ...", "id 12 name x"),
        ("", ""),
    ],
)
def test_same(shown: str, printed: str) -> None:
    assert is_shown(shown, printed, numbers_vary=False)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("one", "one two"),
        ("one two", "one"),
        ("two", "one\ntwo"),
        ("first\n...\nlast", "last\nfirst"),
        ("calls=17", "calls=18"),
        ("a.c", "abc"),
        ("x ... y", "xy"),
    ],
)
def test_different(shown: str, printed: str) -> None:
    assert not is_shown(shown, printed, numbers_vary=False)


def test_numbers() -> None:
    shown = "loaded 1 programs, pid=1234, at 0xff00, tag x86_64"
    assert is_shown(shown, "loaded 1 programs, pid=7, at 0x1, tag x86_64", numbers_vary=True)
    assert not is_shown(shown, "loaded 2 programs, pid=7, at 0x1, tag x86_64", numbers_vary=True)
    assert not is_shown(shown, "loaded 1 programs, pid=x, at 0x1, tag x86_64", numbers_vary=True)
