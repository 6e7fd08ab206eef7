"""Damaged objects go through all stations: each is handled, or refused with an `LskelError`.

LSKEL_FUZZ_EXAMPLES sets how many are tried. What once failed is kept in `FOUND`.
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
from lskel.loader.model import Form
from tests.build.btf import BtfBuilder
from tests.build.elf import Section, Symbol, SymbolType, bss_section, one_program
from tests.fuzz.mutate import mutated

EXAMPLES = int(
    os.environ.get("LSKEL_FUZZ_EXAMPLES") or (3000 if os.environ.get("CI") == "true" else 300)
)
# CPU time for one object; undamaged ones of this size take milliseconds.
SECONDS = 5.0
# Address space beyond what the process had: for the object itself, and for the allocator's slack.
BYTES_PER_BYTE = 64
EXTRA_BYTES = 64 << 20

EXAMPLES_DIR = Path(__file__).parents[2] / "examples"
OBJECTS = {path.name: path for path in sorted(EXAMPLES_DIR.glob("*.bpf.o"))}
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


def check(data: bytes) -> list[lskel.LskelError]:
    """Take an object through all stations and loader forms; the errors that refused it."""
    errors = []
    with limits(len(data)):
        try:
            trace = lskel.open_object(data).trace()
        except lskel.LskelError as error:
            errors.append(error)
        else:
            # Nothing that a name in the object could do to a terminal.
            assert all(line.isprintable() for line in str(trace).split("\n"))
            for form in Form:
                try:
                    lskel.generate(trace, form)
                except lskel.LskelError as error:
                    errors.append(error)
    for refusal in map(str, errors):
        assert refusal.isprintable(), repr(refusal)
    return errors


def bss_of(size: int) -> bytes:
    """An object with a .bss of `size` bytes."""
    btf = BtfBuilder()
    variable = btf.add_var("x", btf.add_int("int", 4))
    btf.add_datasec(".bss", 0, [(variable, 0, 4)])
    elf = one_program().adding(
        bss_section(".bss", size),
        Section(".BTF", btf.bytes()),
        symbols=[Symbol("x", ".bss", 0, 4, type=SymbolType.OBJECT)],
    )
    return bytes(elf)


FOUND = {
    "a .bss beyond 32 bits": bss_of(1 << 32),
    "a .bss of almost 32 bits": bss_of((1 << 32) - 1),
    "control characters in a section's name": bytes(one_program("no\x1b[31m\nsuch")),
    "control characters in a program's name": bytes(one_program(name="a\x1b[31m\nb")),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_undamaged(name: str) -> None:
    assert not check(OBJECTS[name].read_bytes())


def test_undamaged_bss() -> None:
    assert not check(bss_of(8))


@given(mutated(SEEDS))
@settings(
    max_examples=EXAMPLES,
    deadline=None,  # `limits` sees to that, and ends what would never end
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_damaged(data: bytes) -> None:
    check(data)


@pytest.mark.parametrize("name", FOUND)
def test_found(name: str) -> None:
    check(FOUND[name])


def test_limits_end_what_takes_too_long() -> None:
    with pytest.raises(AssertionError, match=r"0\.1 s"), limits(0, seconds=0.1):
        while True:
            pass


def test_limits_end_what_takes_too_much() -> None:
    with pytest.raises(AssertionError, match="bytes"), limits(0):
        bytearray(1 << 30)
