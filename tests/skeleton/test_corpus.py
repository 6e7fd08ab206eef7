"""The kernel's selftests as Python skeletons: they load what the loader alone loads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lskel
from lskel.errors import LskelError
from lskel.loader.model import Loader
from lskel.replay import kernel
from lskel.runtime.objects import map_info, prog_info
from tests import corpus
from tests.selftests.test_generate import UNLOADABLE
from tests.selftests.test_load import HANDS, SLOW
from tests.selftests.types import typed
from tests.skeleton.modules import skeleton_class

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


def by_loader(loader: Loader) -> Any:
    """The facts; None where the kernel refuses, or a choice is needed."""
    try:
        with kernel.run(loader) as loaded:
            return facts(
                {name: program.info() for name, program in loaded.programs.items()},
                {name: made.info() for name, made in loaded.maps.items()},
            )
    except LskelError as error:
        return type(error)


def by_skeleton(loader: Loader) -> Any:
    with skeleton_class(loader)() as skel:
        try:
            skel.load()
        except LskelError as error:
            return type(error)
        return facts(
            {p.name: prog_info(p.fileno()) for p in skel.progs if p.loaded},
            {m.name: map_info(m.fileno()) for m in skel.maps},
        )


@pytest.mark.kernel
@pytest.mark.parametrize("hand", range(HANDS))
def test_loads_the_same(hand: int, bpffs: Path) -> None:
    loaded = 0
    for path, loader in loaders(hand):
        if path.stem in SLOW or any(made.is_pinned for made in loader.trace.maps):
            continue
        expected = by_loader(loader)
        assert by_skeleton(loader) == expected, path.stem
        loaded += isinstance(expected, tuple)
    assert loaded >= 10
