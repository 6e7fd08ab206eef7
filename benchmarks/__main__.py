"""Run the benchmarks, as root; print the results and write benchmarks/results.md."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import lskel
from benchmarks.cold import cold
from benchmarks.commands import one_object, whole_corpus
from benchmarks.events import events
from benchmarks.loading import loading
from benchmarks.maps import maps
from benchmarks.simulator import simulator
from tests import corpus
from tests.selftests.reference import tool

RESULTS = Path(__file__).with_name("results.md")

# The benchmarks by name: the function and its rounds.
PARTS: dict[str, tuple[Callable[[Path, int], Iterator[str]], int]] = {
    "object": (one_object, 25),
    "corpus": (whole_corpus, 3),
    "loading": (loading, 9),
    "cold": (cold, 21),
    "events": (events, 15),
    "simulator": (simulator, 15),
    "maps": (maps, 3),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ", ".join(PARTS)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{names}; default: all")
    parser.add_argument("--rounds", type=int, help="number of rounds; default: depends on the part")
    args = parser.parse_args()
    if unknown := set(args.parts) - PARTS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if lacking := corpus.missing():
        print(f"the benchmarks need {', '.join(lacking)}", file=sys.stderr)
        return 1
    lines: list[str] = []
    for line in _measure(args.parts or list(PARTS), args.rounds):
        print(line, flush=True)
        lines.append(line)
    if not args.parts:
        RESULTS.write_text("\n".join(lines) + "\n")
    return 0


def _measure(parts: Collection[str], rounds: int | None) -> Iterator[str]:
    yield from _head()
    for name, (measure, usual) in PARTS.items():
        if name in parts:
            yield ""
            with tempfile.TemporaryDirectory() as scratch:
                yield from measure(Path(scratch), rounds or usual)


def _head() -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield (
        f"Written by `make bench`: lskel {lskel.__version__}, Python {platform.python_version()}, "
        f"bpftool {_number(tool('bpftool', 'version'))}, Linux {_number(os.uname().release)} "
        f"on {platform.machine()} with {os.cpu_count()} CPUs. Compare ratios, not times, with "
        "other machines. Jobs alternate; each figure is a median, with quartiles."
    )


def _number(text: str) -> str:
    match = re.search(r"\d+(\.\d+)+", text)
    return match.group() if match else "unknown"


if __name__ == "__main__":
    sys.exit(main())
