"""What is right for each source of the suite: computed here, whichever compiler made the object."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lskel.runtime.collection import Collection
from tests.replay.tcp_congestion import SIZE, connection
from tests.runtime.programs import run_program

_SOURCES = Path(__file__).parent / "bpf"
_PACKET = bytes(64)
_FUNC_LOOP = 181  # BPF_FUNC_loop, uapi/linux/bpf.h


def sources(language: str) -> list[Path]:
    """The sources of the suite in a language, which their suffix says."""
    return sorted(_SOURCES.glob(f"*.{language}"))


def check(source: Path, bpf: Collection) -> None:
    """Load what was compiled of a source, run it, and compare; AssertionError where it is wrong."""
    _CHECKS[_name(source)](bpf)


def _name(source: Path) -> str:
    return source.name.partition(".")[0]


def _run(bpf: Any, program: str = "run", packet: bytes = b"") -> int:
    return run_program(bpf.progs[program], packet=packet)


def _globals(bpf: Any) -> None:
    bpf.rodata.factor = 5
    bpf.data.counted = 6
    bpf.data_bytes.bytes[0] = 9
    assert bpf.data.points[1].name == b"two"
    bpf.load()
    assert _run(bpf) == 0
    names = ord("n") + ord("w")
    right = [1 + 2 + 3 - 4 - 5 - 6 + names, 92345, 5 * 6, ord("w"), 21, 7, 0]
    assert list(bpf.bss.results[:7]) == right
    assert bpf.bss.done is True
    assert bpf.data.counted == 7


def _maps(bpf: Any) -> None:
    bpf.load()
    assert _run(bpf, packet=_PACKET) == 5  # what the tail call's program returns
    assert list(bpf.bss.results[:4]) == [1235, 1, 1, 77]
    [(key, value)] = bpf.maps.sums.items()
    assert (key.number, bytes(key.letters), value.sum, value.count) == (7, b"abcd", 123, 5)
    assert sum(bpf.maps.per_cpu[1]) == 1
    assert list(bpf.maps.second.values()) == [42, 0, 0]
    assert list(bpf.maps.first.values()) == [0, 0, 0]


def _core(bpf: Any) -> None:
    bpf.load()
    assert _run(bpf) == 0
    comm = Path("/proc/self/comm").read_text()[0]
    pid = os.getpid()
    assert list(bpf.bss.results) == [pid, pid, 0, 16, 1, 1, _FUNC_LOOP, ord(comm)]


def _functions(bpf: Any) -> None:
    bpf.load()
    assert _run(bpf) == _run(bpf, "other") == 0
    assert list(bpf.bss.results[:5]) == [42, 101, 10, 55, 14]


def _kfuncs(bpf: Any) -> None:
    bpf.bss.pid = os.getpid()
    bpf.load()
    assert _run(bpf) == 0
    assert list(bpf.bss.results[:3]) == [11, 12, 1]


def _ringbuf(bpf: Any) -> None:
    bpf.load()
    assert _run(bpf) == 0
    found = [(event.number, event.small, event.text) for event in bpf.maps.events.events(0)]
    assert found == [(10**12 + number, -number, b"an event") for number in range(3)]
    assert bpf.bss.results[0] == 3


def _numbers(bpf: Any) -> None:
    bpf.load()
    assert _run(bpf) == 0
    assert list(bpf.bss.results) == list(_right_numbers())


def _right_numbers() -> Iterator[int]:
    state = 12345
    chosen = dict(enumerate((3, 1, 4, 15, 92, 65)))
    results = [0, 0, 0, 0]
    for _ in range(20):
        a = (state * 1103515245 + 12345) % 2**32
        state = (a * 1103515245 + 12345) % 2**32
        b = _signed(state, 4) >> 3
        # The sum is of unsigned numbers.
        results[0] += (a // 7 + a % 13 + (a << 5) - (b >> 2)) % 2**32
        results[1] ^= _signed(b * a, 8)
        results[2] += chosen.get(a % 8, -1)
        results[3] += _signed(a, 1) + _signed(b, 2)
    yield from results
    yield 0x04030201 + 0x3412
    yield -2
    yield 42 + 50
    yield 50 + 9


def _signed(value: int, size: int) -> int:
    sign = 1 << 8 * size - 1
    return ((value + sign) % (2 * sign)) - sign


def _congestion(bpf: Any) -> None:
    bpf.attach()
    assert connection("lskel_suite") == ("lskel_suite", SIZE)
    assert bpf.bss.results[0] > 0


def _rust(bpf: Any) -> None:
    bpf.data.counted = 9
    bpf.load()
    assert _run(bpf) == 0
    assert list(bpf.bss.results[:4]) == [sum(number * number for number in range(10)), 10, 0, 42]
    assert dict(bpf.maps.sums.items()) == {7: 42}


_CHECKS: dict[str, Callable[[Any], None]] = {
    "globals": _globals,
    "maps": _maps,
    "core": _core,
    "functions": _functions,
    "kfuncs": _kfuncs,
    "ringbuf": _ringbuf,
    "numbers": _numbers,
    "congestion": _congestion,
    "rust": _rust,
}
