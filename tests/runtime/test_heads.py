"""Structs of which only the head is there."""

from __future__ import annotations

import pytest

from lskel.runtime.values import (
    Bits,
    Struct,
    Union,
    array,
    layout,
    s16,
    text,
    u8,
    u32,
    u64,
)
from lskel.runtime.values.heads import head_of


@layout(8, ("x", u32, 0), ("y", u32, 4))
class Inner(Struct):
    x: int
    y: int


@layout(8, ("low", u32, 0), ("both", u64, 0))
class Either(Union):
    low: int
    both: int


@layout(
    72,
    ("pid", u32, 0),
    ("inner", Inner, 4),
    ("numbers", array(s16, 4), 12),
    ("", Either, 20),
    ("flags", Bits(28 * 8, 3, u8)),
    ("far", Bits(29 * 8 + 1, 9, s16)),
    ("pairs", array(Inner, 2), 32),
    ("name", text(20), 48),
    ("last", u32, 68),
)
class Event(Struct):
    pid: int


WHOLE = Event(
    pid=7,
    inner=(1, 2),
    numbers=[1, -2, 3, -4],
    both=1 << 40 | 9,
    flags=5,
    far=-3,
    pairs=[(3, 4), (5, 6)],
    name=b"a name",
    last=8,
)


@pytest.mark.parametrize(
    ("size", "members"),
    [
        (0, {}),
        (3, {}),
        (4, {"pid": 7}),
        (7, {"pid": 7, "inner": {}}),
        (8, {"pid": 7, "inner": {"x": 1}}),
        (12, {"pid": 7, "inner": {"x": 1, "y": 2}, "numbers": []}),
        (17, {"pid": 7, "inner": {"x": 1, "y": 2}, "numbers": [1, -2]}),
    ],
)
def test_what_is_left(size: int, members: dict[str, object]) -> None:
    head = head_of(Event, bytes(WHOLE)[:size])
    assert head.asdict() == members
    assert isinstance(head, Event)
    texts = (f"{name}={value!r}" for name, value in members.items() if name != "inner")
    assert all(text in repr(head) for text in texts)


def test_all_sizes() -> None:
    """Each member is as in the whole struct, cut short, or absent, and never comes back."""
    whole, before = WHOLE.asdict(), 0
    for size in range(73):
        found = head_of(Event, bytes(WHOLE)[:size]).asdict()
        assert list(found) == [name for name in whole if name in found]
        for name, value in found.items():
            if isinstance(value, list):
                assert value == whole[name][: len(value)]
            elif isinstance(value, bytes):
                assert whole[name].startswith(value)
            elif isinstance(value, dict):
                assert value.items() <= whole[name].items()
            else:
                assert value == whole[name]
        assert len(found) >= before
        before = len(found)
    assert found == whole


def test_anonymous_members_and_bits() -> None:
    head = head_of(Event, bytes(WHOLE)[:24])
    assert head.asdict()["low"] == 9 and not hasattr(head, "both")
    head = head_of(Event, bytes(WHOLE)[:30])
    assert (head.asdict()["flags"], hasattr(head, "far")) == (5, False)
    assert head_of(Event, bytes(WHOLE)[:31]).asdict()["far"] == -3


def test_arrays_of_structs_and_text() -> None:
    head = head_of(Event, bytes(WHOLE)[:47])
    assert head.asdict()["pairs"] == [{"x": 3, "y": 4}]
    assert not hasattr(head, "name")
    assert head_of(Event, bytes(WHOLE)[:48]).asdict()["name"] == b""
    assert head_of(Event, bytes(WHOLE)[:51]).asdict()["name"] == b"a n"


def test_absent_members() -> None:
    head = head_of(Event, bytes(WHOLE)[:51])
    with pytest.raises(AttributeError) as raised:
        _ = head.last  # type: ignore[attr-defined]
    hint = "it is in the type, after the end of this event"
    assert str(raised.value) == f"Event: no member 'last' ({hint})"
    with pytest.raises(AttributeError, match="after the end of this event"):
        head.last = 3  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"no member 'lost' \(available: pid, inner"):
        _ = head.lost  # type: ignore[attr-defined]
    head.pid = 9
    assert head.pid == 9 and WHOLE.pid == 7


def test_equal_ones() -> None:
    data = bytes(WHOLE)
    assert head_of(Event, data[:50]) == head_of(Event, data[:50])
    assert hash(head_of(Event, data[:50])) == hash(head_of(Event, data[:50]))
    assert head_of(Event, data[:50]) != head_of(Event, data[:51])
    assert head_of(Event, data[:44]) != WHOLE


def test_few_classes() -> None:
    """One for all lengths of a text, and of an array: events may have any length."""
    data = bytes(WHOLE)
    assert len({type(head_of(Event, data[:size])) for size in range(48, 68)}) == 1
    assert len({type(head_of(Event, data[:size])) for size in range(12, 20)}) == 1
