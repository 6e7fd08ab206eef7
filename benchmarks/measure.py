"""Measuring: jobs in alternation, medians, and tables of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

# A job measures itself, so that what it prepares and clears away does not count.
Job = Callable[[], float]


class Figure(NamedTuple):
    """Seconds: the median of some measurements and their quartiles."""

    median: float
    low: float
    high: float

    def text(self, unit: str = "ms") -> str:
        """Such as "12.3 ms (11.9 to 13.0)"."""
        scale = {"s": 1, "ms": 1e3}[unit]
        low, median, high = (self._round(x * scale) for x in (self.low, self.median, self.high))
        return f"{median} {unit} ({low} to {high})"

    @staticmethod
    def _round(number: float) -> str:
        return f"{number:.3g}" if number < 100 else f"{number:.0f}"


def seconds(action: Callable[[], Any]) -> float:
    """How long an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def alternate(jobs: Mapping[str, Job], rounds: int) -> dict[str, list[float]]:
    """Run each job once a round, so that what else the machine does hits all alike.

    A first round is not counted: it fills caches.
    """
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            taken = job()
            if number:
                found[name].append(taken)
    return found


def figure(measured: Sequence[float]) -> Figure:
    """The median and the quartiles of two measurements or more."""
    low, _, high = statistics.quantiles(measured, n=4, method="inclusive")
    return Figure(statistics.median(measured), low, high)


def ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """The median of the ratios round by round: less noisy than the ratio of medians."""
    return statistics.median(a / b for a, b in zip(of, to, strict=True))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join('---' for _ in heads)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
