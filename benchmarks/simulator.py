"""Replays in the simulator: a typical loader, and the largest ones of the corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import lskel
from benchmarks.measure import alternate, figure, seconds
from benchmarks.report import table
from lskel.loader.model import Loader
from lskel.replay.simulator.run import run
from tests import corpus

# The number of instructions of a loader of a few programs and maps.
TYPICAL = 300


def simulator(_scratch: Path, rounds: int) -> Iterator[str]:
    """The time of a replay, decoding included."""
    loaders: dict[str, Loader] = {}
    for path in corpus.objects():
        try:
            loader = lskel.generate(lskel.open_object(path))
            if run(loader).value == 0:
                loaders[path.stem] = loader
        except lskel.LskelError:
            continue
    typical = min(loaders, key=lambda name: abs(_size(loaders[name]) - TYPICAL))
    most_code = max(loaders, key=lambda name: _size(loaders[name]))
    most_data = max(loaders, key=lambda name: len(loaders[name].blob))
    chosen = dict.fromkeys((typical, most_code, most_data))
    measured = alternate({name: _job(loaders[name]) for name in chosen}, rounds)
    yield "## Replay in the simulator"
    yield ""
    yield (
        f"A loader of about {TYPICAL} instructions, the longest one, and the one with the most "
        f"data; {rounds} rounds."
    )
    yield ""
    rows = [
        (
            name,
            str(_size(loaders[name])),
            str(len(loaders[name].blob)),
            str(len(run(loaders[name]).records)),
            figure(measured[name]).text(),
        )
        for name in chosen
    ]
    yield from table(("object", "instructions", "blob bytes", "calls", "replay"), rows)


def _size(loader: Loader) -> int:
    return len(loader.insns) // 8


def _job(loader: Loader) -> Callable[[], float]:
    return lambda: seconds(lambda: run(loader))
