"""What is damaged: the objects and headers of the corpus, bundles of the objects, logs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from functools import cache
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import NamedTuple

import lskel
from lskel.loader.archive import MAGIC
from lskel.loader.bundle import dump
from lskel.loader.header import is_header
from lskel.loader.model import Form
from tests import corpus
from tests.build.elf import one_program

ROOT = Path(__file__).parents[2]
FOUND = Path(__file__).parent / "found"
HOSTILE = ROOT / "tests" / "hostile" / "inputs"
# What is larger finds what the smaller finds, later.
_LARGEST = 512 << 10
# Inputs of this size are half as likely as the smallest.
_SMALL = 6 << 10
# What is made before anything else, and kept in memory.
_REMEMBERED = 256 << 10


class Kind(Enum):
    """What an input is meant to be."""

    OBJECT = "object"
    BUNDLE = "bundle"
    HEADER = "header"
    LOG = "log"


class Seed(NamedTuple):
    """An input to damage; `read` makes its bytes, which take about `size`."""

    name: str
    kind: Kind
    size: int
    read: Callable[[], bytes]


class Seeds(NamedTuple):
    """The seeds of a kind, the smaller the likelier."""

    seeds: Sequence[Seed]
    weights: Sequence[float]  # accumulated

    def choose(self, rng: Random) -> Seed:
        """One of them."""
        return rng.choices(self.seeds, cum_weights=self.weights)[0]


def kind_of(data: bytes, name: str) -> Kind:
    """What a file holds."""
    if name.endswith((".log", ".txt")):
        return Kind.LOG
    if data.startswith(MAGIC):
        return Kind.BUNDLE
    return Kind.HEADER if is_header(data) else Kind.OBJECT


def kept() -> list[Path]:
    """The inputs that were found to be mishandled, or were written to be."""
    return sorted(
        path for directory in (FOUND, HOSTILE) for path in directory.glob("*") if _is_input(path)
    )


def _is_input(path: Path) -> bool:
    return path.is_file() and path.suffix not in (".py", ".md", ".json", ".c")


@cache
def seeds() -> dict[Kind, Seeds]:
    """All seeds, by kind."""
    found: dict[Kind, list[Seed]] = {kind: [] for kind in Kind}
    for seed in _all():
        if seed.size <= _LARGEST:
            found[seed.kind].append(seed)
    return {kind: _weighed(items) for kind, items in found.items()}


def make_bundles() -> None:
    """Make the bundles of all objects that are not large, which are remembered from then on."""
    for seed in seeds()[Kind.BUNDLE].seeds:
        if seed.size <= _REMEMBERED:
            seed.read()


def _weighed(items: Sequence[Seed]) -> Seeds:
    weights = [(1 + item.size / _SMALL) ** -1.5 for item in items]
    return Seeds(items, list(accumulate(weights)))


def _all() -> Iterator[Seed]:
    for order in ("little", "big"):
        yield from _fixed(f"one program, {order}", bytes(one_program(order=order)))
    for path in (*sorted((ROOT / "examples").glob("*.bpf.o")), *kept()):
        yield from _fixed(path.name, path.read_bytes())
    for path in sorted((ROOT / "tests" / "verifier" / "logs").glob("*.txt")):
        yield from _fixed(path.name, path.read_bytes())
    cached = corpus.cache_directory()
    for path in sorted((cached / "objects").glob("*.o")):
        yield from _object(path.name, path.stat().st_size, path.read_bytes)
    for path in sorted((cached / "skeletons").glob("*.skel.h")):
        yield Seed(path.name, Kind.HEADER, path.stat().st_size, path.read_bytes)


def _fixed(name: str, data: bytes) -> Iterator[Seed]:
    kind = kind_of(data, name)
    if kind is Kind.OBJECT:
        yield from _object(name, len(data), lambda: data)
    else:
        yield Seed(name, kind, len(data), lambda: data)


def _object(name: str, size: int, read: Callable[[], bytes]) -> Iterator[Seed]:
    yield Seed(name, Kind.OBJECT, size, read)
    for form in Form:
        yield Seed(f"{name}, {form.value}", Kind.BUNDLE, size, _bundle(name, read, form))


def _bundle(name: str, read: Callable[[], bytes], form: Form) -> Callable[[], bytes]:
    @cache
    def make() -> bytes:
        """The bundle of an object, or the object where there is none."""
        try:
            return dump(lskel.generate(lskel.open_object(read(), name.split(".")[0]), form))
        except lskel.LskelError:
            return read()

    return make


def worker_directory() -> str:
    """A directory in memory, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
