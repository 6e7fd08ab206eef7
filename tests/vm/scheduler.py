"""A scheduler of sched_ext at work, as a job of a machine."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lskel

_DIRECTORY = Path("/sys/kernel/sched_ext")
_WORKERS = 4


def schedule(bundle: str, seconds: float) -> dict[str, object] | None:
    """Load a bundle of examples/fifosched, and let it schedule a machine under load.

    Tells the kernel's state before, meanwhile and afterwards, what the scheduler counted, what each
    of the load's processes did meanwhile, and the kernel's messages since. None without sched_ext.
    """
    if not _DIRECTORY.exists():
        return None
    states = [_state()]
    said = _messages()
    with lskel.load(bundle) as bpf:
        bpf.load()
        states.append(_state())
        with _busy() as progress:
            bpf.attach()
            began = progress()
            time.sleep(seconds)
            states.append(_state())
            name = (_DIRECTORY / "root/ops").read_text().strip()
            ran = [after - before for before, after in zip(began, progress(), strict=True)]
            bpf.detach()
        states.append(_state())
        counted = [_numbers(cpu) for cpu in bpf.maps["counters"][0]]
        ended = bpf.bss.exit_kind, bpf.bss.exit_reason.decode()
    return {
        "states": states,
        "name": name,
        "ran": ran,
        "counted": counted,
        "ended": ended,
        "messages": _messages()[len(said) :],
    }


def _numbers(counts: object) -> dict[str, int]:
    """A CPU's counters, by name."""
    return {name: getattr(counts, name) for name in ("idle", "queued", "taken")}


@contextmanager
def _busy() -> Iterator[Callable[[], list[int]]]:
    """Processes that compute, half of them with pauses; yields what says how much each has done."""
    with mmap.mmap(-1, 8 * _WORKERS) as shared:
        done = memoryview(shared).cast("Q")
        workers = [_start(done, number) for number in range(_WORKERS)]
        try:
            yield lambda: list(done)
        finally:
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
                os.waitpid(worker, 0)
            done.release()


def _start(done: memoryview, number: int) -> int:
    if worker := os.fork():
        return worker
    while True:
        sum(range(10_000))
        done[number] += 1
        if number % 2:
            time.sleep(0.001)


def _messages() -> list[str]:
    done = subprocess.run(["dmesg"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def _state() -> str:
    return (_DIRECTORY / "state").read_text().strip()
