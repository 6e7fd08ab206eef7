"""The mutations themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

import pytest
from hypothesis import Phase, find, settings

from lskel.cursor import ByteOrder
from tests.build.elf import Rel, Symbol, data_section, one_program
from tests.fuzz.mutate import Region, byte_order, mutated, regions


def seed(order: ByteOrder) -> bytes:
    """An object with one of most regions."""
    elf = one_program(order=order).adding(
        data_section(".maps", bytes(32)),
        symbols=[Symbol("m", ".maps", size=32)],
        rels=[Rel("raw_tp/sys_enter", 0, "m")],
    )
    return bytes(elf)


SEEDS = [seed("little"), seed("big")]


@pytest.mark.parametrize("data", SEEDS, ids=byte_order)
def test_regions(data: bytes) -> None:
    found = {region.name: region for region in regions(data)}
    assert list(found) == [
        "ELF header",
        "section headers",
        ".strtab",
        "raw_tp/sys_enter",
        "license",
        ".maps",
        ".relraw_tp/sys_enter",
        ".symtab",
        "anywhere",
    ]
    assert all(0 <= region.start < region.end <= len(data) for region in found.values())
    licence = found["license"]
    assert data[licence.start : licence.end] == b"GPL\0"


def only_in(region: Region, damaged: bytes) -> bool:
    """Whether `damaged` differs from the seed in its byte order only within `region`."""
    original = SEEDS[byte_order(damaged) == "big"] if len(damaged) > 5 else b""
    return (
        len(damaged) == len(original)
        and damaged != original
        and damaged[: region.start] == original[: region.start]
        and damaged[region.end :] == original[region.end :]
    )


REACHED: dict[str, Callable[[bytes], bool]] = {
    **{region.name: partial(only_in, region) for region in regions(SEEDS[0])},
    "nothing left": lambda damaged: not damaged,
    "truncated only": lambda damaged: any(
        damaged == original[: len(damaged)] and len(damaged) < len(original) for original in SEEDS
    ),
}


@pytest.mark.parametrize("name", REACHED)
def test_reaches(name: str) -> None:
    assert (
        find(
            mutated(SEEDS),
            lambda damaged: bool(REACHED[name](damaged)),
            settings=settings(max_examples=20_000, database=None, phases=[Phase.generate]),
            random=Random(1),
        )
        is not None
    )
