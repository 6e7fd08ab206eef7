"""The public API changes on purpose only."""

from __future__ import annotations

from tests.api import GOLDEN, lines


def test_the_public_api() -> None:
    assert GOLDEN.read_text().splitlines() == list(lines())
