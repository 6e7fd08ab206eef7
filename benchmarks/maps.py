"""Write, read and remove a million entries of a hash from Python; dump it by bpftool."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import alternate, figure, ratio, seconds
from benchmarks.report import table
from lskel.bpf.enums import MapType
from lskel.runtime import elements
from lskel.runtime.maps.base import MapDefinition
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.values import Struct, layout, u32, u64
from tests.runtime.programs import create_map

ENTRIES = 1_000_000
# Loops over single keys are measured with fewer keys, and multiplied by this.
_FEWER = 20


@layout(16, ("pid", u32, 0), ("cpu", u32, 4), ("start", u64, 8))
class Task(Struct):
    """The type of keys and values."""

    pid: int
    cpu: int
    start: int


def maps(_scratch: Path, rounds: int) -> Iterator[str]:
    """Batches in comparison with a loop over the keys and with bpftool."""
    numbers: HashMap[int, int] = _hash(4, 8, u32, u64)
    structs: HashMap[Task, Task] = _hash(16, 16, Task, Task)
    some = {number: number for number in range(ENTRIES)}
    tasks = {Task(number, 1, 2): Task(number, 3, 4) for number in range(ENTRIES)}
    numbers.update(some)
    structs.update(tasks)
    jobs: dict[str, Callable[[], float]] = {
        "read: u32 to u64": lambda: seconds(numbers.copy),
        "read: values alone": lambda: seconds(lambda: sum(numbers.values())),
        "read: struct to struct": lambda: seconds(lambda: [*structs.items()]),
        "read: bytes": lambda: seconds(lambda: _raw(numbers)),
        "loop over keys: u32 to u64": lambda: _loop(numbers, list(some)),
        "loop over keys: struct to struct": lambda: _loop(structs, list(tasks)),
        "bpftool map dump -j: u32 to u64": lambda: _bpftool(numbers),
        "update(): u32 to u64": lambda: seconds(lambda: numbers.update(some)),
        "update(): struct to struct": lambda: seconds(lambda: structs.update(tasks)),
        "take(): u32 to u64": lambda: _take(numbers, some),
    }
    measured = alternate(jobs, rounds)
    numbers.close()
    structs.close()
    yield "## Maps"
    yield ""
    yield (
        f"A hash of {ENTRIES} entries; {rounds} rounds. Loops, which look up known keys, are "
        f"measured with {ENTRIES // _FEWER} keys and multiplied. The ratio is to reading "
        "numbers in batches."
    )
    yield ""
    first = measured["read: u32 to u64"]
    rows = (
        (name, figure(times).text("s"), f"{ratio(times, first):.2g}")
        for name, times in measured.items()
    )
    yield from table(("what", "time", "ratio"), rows)


def _hash(key_size: int, value_size: int, key: Any, value: Any) -> HashMap[Any, Any]:
    made: HashMap[Any, Any] = HashMap(
        MapDefinition("benchmark", MapType.HASH, key_size, value_size, ENTRIES), key, value
    )
    made.bind(create_map(MapType.HASH, key_size, value_size, ENTRIES))
    return made


def _raw(made: HashMap[Any, Any]) -> int:
    return sum(count for _, _, count in elements.chunks(made.fileno(), made.definition))


def _loop(made: HashMap[Any, Any], keys: list[Any]) -> float:
    return _FEWER * seconds(lambda: [made[key] for key in keys[::_FEWER]])


def _take(made: HashMap[Any, Any], again: dict[Any, Any]) -> float:
    found = seconds(lambda: sum(map(len, made.take())))
    made.update(again)
    return found


def _bpftool(made: HashMap[Any, Any]) -> float:
    words = ("bpftool", "-j", "map", "dump", "id", str(made.info().id))
    return seconds(lambda: subprocess.run(words, stdout=subprocess.DEVNULL, check=True))
