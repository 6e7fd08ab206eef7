"""The kernel's selftests as Python skeletons: they load what the loader alone loads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lskel
from lskel.errors import LskelError
from lskel.loader.model import Loader
from lskel.runtime.maps.data import DataMap
from lskel.runtime.objects import map_info, prog_info
from tests import corpus
from tests.selftests.test_generate import UNLOADABLE
from tests.selftests.test_load import HANDS, SLOW
from tests.selftests.types import typed
from tests.skeleton.modules import Door, by_load, by_module

pytestmark = [pytest.mark.corpus, pytest.mark.usefixtures("corpus_tools")]


def loaders(hand: int) -> Iterator[tuple[Path, Loader]]:
    for path in corpus.objects()[hand::HANDS]:
        if path.stem not in UNLOADABLE:
            yield path, lskel.generate(typed(path), "auto")


def facts(programs: Any, maps: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the kernel says of programs and maps that does not change from load to load."""
    return (
        {
            name: (info.type, info.tag, info.xlated_len, len(info.map_ids), bool(info.btf_id))
            for name, info in programs.items()
        },
        {
            name: (info.type, info.key_size, info.value_size, info.max_entries, info.flags)
            for name, info in maps.items()
        },
    )


def by_door(door: Door, loader: Loader) -> Any:
    """The facts, and the variables by map; an error's class where the kernel refuses."""
    with door(loader) as bpf:
        try:
            bpf.load()
        except LskelError as error:
            return type(error)
        values = {m.name: m.value.asdict() for m in bpf.maps if isinstance(m, DataMap)}
        return (
            facts(
                {p.name: prog_info(p.fileno()) for p in bpf.progs if p.loaded},
                {m.name: map_info(m.fileno()) for m in bpf.maps},
            ),
            values,
        )


def directly(loader: Loader) -> Any:
    return lskel.load(loader, direct=True)


@pytest.mark.kernel
@pytest.mark.parametrize("hand", range(HANDS))
def test_loads_the_same(hand: int, bpffs: Path) -> None:
    loaded = 0
    for path, loader in loaders(hand):
        if path.stem in SLOW or any(made.is_pinned for made in loader.trace.maps):
            continue
        expected = by_door(directly, loader)
        assert by_door(by_load, loader) == expected, path.stem
        module = by_door(by_module, loader)
        if isinstance(expected, tuple):
            loaded += 1
            # Modules have no static variables.
            for name, variables in module[1].items():
                assert variables.items() <= expected[1][name].items(), path.stem
            assert module[1].keys() == expected[1].keys()
            module, expected = module[0], expected[0]
        assert module == expected, path.stem
    assert loaded >= 10
