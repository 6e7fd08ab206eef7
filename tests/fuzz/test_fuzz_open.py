"""Damaged objects go through all stations: each is handled, or refused with an `LskelError`.

LSKEL_FUZZ_EXAMPLES sets how many are tried. An input that once failed is kept in ``found/``.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import HealthCheck, given, settings

import lskel
from tests.build.elf import one_program
from tests.fuzz.mutate import mutated

EXAMPLES = int(
    os.environ.get("LSKEL_FUZZ_EXAMPLES") or (3000 if os.environ.get("CI") == "true" else 300)
)
# CPU time for one object; undamaged ones of this size take some hundredths of it.
SECONDS = 5.0
# Address space beyond what the process had: for the object itself, and for the allocator's slack.
BYTES_PER_BYTE = 64
EXTRA_BYTES = 64 << 20

HERE = Path(__file__).parent
OBJECTS = {path.name: path for path in sorted((HERE.parent.parent / "examples").glob("*.bpf.o"))}
FOUND = sorted((HERE / "found").glob("*.o"))
SEEDS = [
    *(path.read_bytes() for path in OBJECTS.values()),
    bytes(one_program()),
    bytes(one_program(order="big")),
]


class OutOfTime(BaseException):
    """Not an Exception, so that nothing on the way up can take it for one of its own errors."""


def _out_of_time(_signal: int, _frame: FrameType | None) -> None:
    raise OutOfTime


@contextmanager
def limits(size: int, seconds: float = SECONDS) -> Iterator[None]:
    """Let the block fail when it takes too long or too much memory for an object of `size` bytes.

    CPU time is what counts, so that a busy machine does not fail the test.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    allowed = pages * resource.getpagesize() + BYTES_PER_BYTE * size + EXTRA_BYTES
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGPROF, _out_of_time)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    except OutOfTime as error:
        raise AssertionError(f"took more than {seconds} s") from error
    except MemoryError as error:
        raise AssertionError(f"took more than {allowed:#x} bytes") from error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGPROF, handler)


def check(data: bytes) -> lskel.LskelError | None:
    """Take an object through all stations; the error with which it was refused."""
    with limits(len(data)):
        try:
            obj = lskel.open_object(data)
            str(obj.trace())
            lskel.generate(obj)
        except lskel.LskelError as error:
            # One line, and nothing that a name in the object could do to a terminal.
            assert str(error).isprintable()
            return error
    return None


@pytest.mark.parametrize("name", OBJECTS)
def test_undamaged(name: str) -> None:
    assert check(OBJECTS[name].read_bytes()) is None


@given(mutated(SEEDS))
@settings(
    max_examples=EXAMPLES,
    deadline=None,  # `limits` sees to that, and ends what would never end
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_damaged(data: bytes) -> None:
    check(data)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_found(path: Path) -> None:
    check(path.read_bytes())


def test_limits_end_what_takes_too_long() -> None:
    with pytest.raises(AssertionError, match=r"0\.1 s"), limits(0, seconds=0.1):
        while True:
            pass


def test_limits_end_what_takes_too_much() -> None:
    with pytest.raises(AssertionError, match="bytes"), limits(0):
        bytearray(1 << 30)
