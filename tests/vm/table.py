"""Writes docs/kernels.md: who loads how much of the corpus on which kernel.

    python -m tests.vm.table > docs/kernels.md

Loads every object on the running kernel and in a machine for each other one: about 20
minutes, as root.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import lskel
from tests import corpus
from tests.vm import selftests
from tests.vm.kernels import SERIES, find_kernel
from tests.vm.machine import missing, run_all
from tests.vm.selftests import Result, Verdicts, Way
from tests.vm.test_selftests import DEVIATIONS

# Seconds, of a load and of all.
_LIMIT = 120
_TOTAL = 3600
_WIDTH = 110


class Column(NamedTuple):
    """A kernel, and what each way did there."""

    kernel: str
    verdicts: Verdicts


def columns() -> list[Column]:
    """All kernels, the running one first."""
    if lacks := [why for series in SERIES if (why := missing(series))]:
        sys.exit("\n".join(lacks))
    paths = corpus.objects()
    with TemporaryDirectory() as name:
        directory = Path(name)
        jobs = [selftests.MODULES, *selftests.jobs(paths, directory, _LIMIT)]
        here, *others = run_all([None, *map(find_kernel, SERIES)], jobs, directory, _TOTAL)
    upstream = here.release.partition("-")[0]
    names = [upstream, *(f"{machine.release} (Debian)" for machine in others)]
    return [
        Column(name, selftests.verdicts(paths, machine.outcomes))
        for name, machine in zip(names, [here, *others], strict=True)
    ]


def document(columns: Sequence[Column]) -> Iterator[str]:
    """The lines of docs/kernels.md."""
    yield "# Kernels"
    yield ""
    yield "Written by `python -m tests.vm.table > docs/kernels.md`; not edited by hand."
    yield ""
    yield (
        f"The {len(corpus.objects())} objects of the [kernel selftests](selftests.md) are loaded "
        "in three ways: by libbpf from the object file, by the loader that bpftool -L generates, "
        "by the loader that lskel generates. Loaders are generated once, on another machine."
    )
    yield ""
    yield from _table(
        ("kernel", "objects", *(f"loaded by {way.value}" for way in Way)),
        [
            (column.kernel, str(len(corpus.objects())), *(_loaded(column, way) for way in Way))
            for column in columns
        ],
    )
    yield ""
    yield f"lskel {lskel.__version__}. A load that takes more than {_LIMIT} s counts as not loaded."
    yield from _differences(columns, Way.LIBBPF, Way.LSKEL)
    for name, why in DEVIATIONS.items():
        yield ""
        yield f"{name}: {why}."
    yield from _differences(columns, Way.BPFTOOL, Way.LSKEL)
    yield from _differences(columns, Way.LSKEL, Way.LIBBPF)
    yield ""
    yield (
        "libbpf does not read the kernel's configuration from /usr/lib/modules/RELEASE/config, "
        "where it is on Debian's 7.3, and looks up the kernel functions of programs that are not "
        "loaded."
    )
    yield from _unfinished(columns)


def _loaded(column: Column, way: Way) -> str:
    return str(sum(v.result is Result.LOADED for v in column.verdicts[way].values()))


def _differences(columns: Sequence[Column], one: Way, other: Way) -> Iterator[str]:
    yield ""
    yield f"## Loaded by {one.value} and not by {other.value}"
    yield ""
    found: dict[tuple[str, Result, str], list[str]] = {}
    for column in columns:
        for name, verdict in selftests.only(column.verdicts, one, other).items():
            found.setdefault((name, verdict.result, _shown(verdict.why)), []).append(column.kernel)
    if not found:
        yield "None."
        return
    yield from _table(
        ("object", "kernel", other.value),
        [
            (name, _all_or(kernels, columns), f"{result.value}: {why}")
            for (name, result, why), kernels in sorted(found.items(), key=lambda row: row[0][0])
        ],
    )


def _all_or(kernels: Sequence[str], columns: Sequence[Column]) -> str:
    return "all" if len(kernels) == len(columns) else ", ".join(kernels)


def _unfinished(columns: Sequence[Column]) -> Iterator[str]:
    yield ""
    yield "## Neither loaded nor refused"
    yield ""
    rows = [
        (name, column.kernel, way.value, f"{verdict.result.value}: {_shown(verdict.why)}")
        for column in columns
        for way in Way
        for name, verdict in column.verdicts[way].items()
        if verdict.result in (Result.SLOW, Result.BROKEN)
    ]
    yield from _table(("object", "kernel", "by", "why"), rows) if rows else ["None."]


def _shown(why: str) -> str:
    """One table cell: short, and without what Markdown takes for its own."""
    line = why.partition("\n")[0]
    if len(line) > _WIDTH:
        line = line[: _WIDTH - 3].rstrip() + "..."
    return re.sub(r"([|<>*\\`])", r"\\\1", line)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (heads, ["---"] * len(heads), *rows):
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    print("\n".join(document(columns())))
