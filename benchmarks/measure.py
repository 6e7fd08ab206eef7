"""Measurements: alternating jobs, medians, ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

# A job measures itself, without its preparation and cleanup.
Job = Callable[[], float]


class Figure(NamedTuple):
    """Median and quartiles of measurements."""

    median: float
    low: float
    high: float

    def text(self, unit: str = "ms") -> str:
        """Text such as "12.3 ms (11.9 to 13.0)"; the measurements are in seconds."""
        scale = {"s": 1, "ms": 1e3}[unit]
        low, median, high = (rounded(x * scale) for x in (self.low, self.median, self.high))
        return f"{median} {unit} ({low} to {high})"


def rounded(number: float) -> str:
    """Three digits."""
    return f"{number:.3g}" if abs(number) < 100 else f"{number:.0f}"


def seconds(action: Callable[[], Any]) -> float:
    """The time that an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def alternate(jobs: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Run each job once per round, so that other load on the machine affects all jobs alike.

    A warm-up round, which fills caches, is not counted.
    """
    found: dict[str, list[T]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            result = job()
            if number:
                found[name].append(result)
    return found


def figure(measured: Sequence[float]) -> Figure:
    """Median and quartiles of at least two measurements."""
    low, _, high = statistics.quantiles(measured, n=4, method="inclusive")
    return Figure(statistics.median(measured), low, high)


def ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """The median of the ratios per round, which is less noisy than the ratio of medians."""
    return statistics.median(a / b for a, b in zip(of, to, strict=True))
