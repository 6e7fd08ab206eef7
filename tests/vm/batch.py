"""Runs jobs one after the other, each in a child process: python -m tests.vm.batch DIRECTORY"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

from tests.vm.job import End, Job, Outcome, add_outcome, read_jobs

_CLONE_NEWNS = 0x20000
_MS_REC_PRIVATE = 0x4000 | 0x40000
BPFFS = Path("/sys/fs/bpf")


def run(job: Job) -> Outcome:
    """Do the job in a child; whatever becomes of the child, this returns soon after the limit."""
    start = time.monotonic()
    answers, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(answers)
        os.setpgid(0, 0)  # what it starts ends with it
        _child(job, write)
    os.close(write)
    answer = _read(answers, start + job.limit)
    os.close(answers)
    if answer is None:
        os.killpg(child, signal.SIGKILL)  # the verifier heeds it
    _, status = os.waitpid(child, 0)
    seconds = round(time.monotonic() - start, 3)
    if answer is None:
        return Outcome(End.TIMEOUT, None, f"not done within {job.limit} s", seconds)
    code = os.waitstatus_to_exitcode(status)
    if code:
        detail = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return Outcome(End.KILLED, None, detail, seconds)
    end, value, detail = json.loads(answer)
    return Outcome(End(end), value, detail, seconds)


def _read(fd: int, deadline: float) -> bytes | None:
    """All that comes until the other side closes; None if it has not done so in time."""
    answer = b""
    while select.select([fd], [], [], max(0, deadline - time.monotonic()))[0]:
        if not (part := os.read(fd, 1 << 16)):
            return answer
        answer += part
    return None


def _child(job: Job, write: int) -> NoReturn:
    try:
        answer = (End.RETURNED.value, job.function(**job.args), "")
    except Exception:  # noqa: BLE001 - it is the job's outcome
        answer = (End.RAISED.value, None, traceback.format_exc())
    with os.fdopen(write, "w") as file:
        json.dump(answer, file)
    os._exit(0)  # closes what the job left open


def _mount_own_bpffs() -> None:
    """A bpffs that only this process and its children see, so that what they pin goes with them."""
    libc = ctypes.CDLL(None, use_errno=True)
    for error in (
        libc.unshare(_CLONE_NEWNS),
        libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None),
        libc.mount(b"bpf", bytes(BPFFS), b"bpf", ctypes.c_ulong(0), None),
    ):
        if error:
            number = ctypes.get_errno()
            raise OSError(number, f"no bpffs in {BPFFS}: {os.strerror(number)}")


def _unpin_all(but: frozenset[Path]) -> None:
    for entry in frozenset(BPFFS.iterdir()) - but:
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def main(directory: Path) -> None:
    """Run the jobs that the directory holds; their outcomes appear there one by one.

    Each begins with an empty bpffs. They share one mount, because the kernel calls modprobe at
    each.
    """
    _mount_own_bpffs()
    from_kernel = frozenset(BPFFS.iterdir())  # maps.debug and progs.debug, where it has them
    for job in read_jobs(directory):
        add_outcome(job.name, run(job), directory)
        _unpin_all(but=from_kernel)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
