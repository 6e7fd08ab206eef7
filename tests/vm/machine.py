"""Booting other kernels: QEMU by way of virtme-ng, with this machine's files to read."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.vm.job import End, Job, Outcome, read_outcomes, write_jobs

# Debian 12 has them as linux-image-amd64 and linux-image-6.12-amd64.
SERIES = ("6.1", "6.12")

_BOOT = Path("/boot")
_ROOT = Path(__file__).parent.parent.parent
_TAIL = 40
# vng calls virtme-run, which lies beside it, and that calls modprobe.
_PATH = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]
)


class Kernel(NamedTuple):
    """A kernel in /boot."""

    series: str
    image: Path

    @property
    def release(self) -> str:
        """Its version, as uname says it."""
        return self.image.name.removeprefix("vmlinuz-")


class Machine(NamedTuple):
    """What became of the jobs in one kernel, by their names."""

    release: str
    outcomes: Mapping[str, Outcome]

    def value(self, name: str) -> Any:
        """What a job returned; AssertionError where it did not return."""
        outcome = self.outcomes[name]
        assert outcome.end is End.RETURNED, f"{name}: {outcome.end.value}: {outcome.detail}"
        return outcome.value


def find_kernel(series: str) -> Kernel | None:
    """The newest of a series; not those for clouds or real time."""
    images = _BOOT.glob(f"vmlinuz-{series}.*-amd64")
    usual = [image for image in images if not re.search("-(cloud|rt)-", image.name)]
    newest = max(usual, key=_version, default=None)
    return Kernel(series, newest) if newest else None


def _version(image: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", image.name)]


def missing(series: str) -> list[str]:
    """What it takes to boot a kernel of the series and this machine lacks."""
    tools = ("vng", "qemu-system-x86_64", "busybox", "modprobe")
    lacking = [tool for tool in tools if not shutil.which(tool, path=_PATH)]
    return lacking if find_kernel(series) else [*lacking, f"{_BOOT}/vmlinuz-{series}.*-amd64"]


def boot(
    kernel: Kernel, jobs: Sequence[Job], directory: Path, limit: float, options: str = ""
) -> Machine:
    """Boot the kernel, run the jobs in it, and power off; at the latest after `limit` seconds.

    The directory belongs to this boot. Jobs see the host's files; what they write is lost unless
    it is in the directory. `options` go to the kernel's command line.
    """
    command = [
        *("vng", "--verbose", "--run", str(kernel.image), "--disable-kvm"),
        *("--user", "root", "--cpus", "2", "--memory", "2G", "--rwdir", str(directory)),
        # The second CPU is for the tests that bring it online.
        *("--append", f"maxcpus=1 {options}".strip()),
        # The guest has an environment of its own.
        *("--", f"cd {shlex.quote(str(_ROOT))} && PYTHONPATH=src {shlex.join(_batch(directory))}"),
    ]
    return Machine(kernel.release, _run(command, jobs, directory, limit))


def run_here(jobs: Sequence[Job], directory: Path, limit: float) -> Machine:
    """Run the jobs in the running kernel, in the same way."""
    return Machine(os.uname().release, _run(_batch(directory), jobs, directory, limit))


def _batch(directory: Path) -> list[str]:
    return [sys.executable, "-m", "tests.vm.batch", str(directory)]


def _run(
    command: Sequence[str], jobs: Sequence[Job], directory: Path, limit: float
) -> dict[str, Outcome]:
    write_jobs(jobs, directory)
    # QEMU opens its standard streams anew: pipes suit it, files get overwritten.
    process = subprocess.Popen(
        command,
        cwd=_ROOT,
        env={**os.environ, "PATH": _PATH},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        console, _ = process.communicate(timeout=limit)
        why = f"it ended with status {process.returncode}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        console, _ = process.communicate()
        why = f"it was stopped after {limit} s"
    outcomes = read_outcomes(directory)
    left = [job.name for job in jobs if job.name not in outcomes]
    tail = console.decode(errors="replace").splitlines()[-_TAIL:]
    detail = "\n".join([f"{why} during '{left[0]}'; its console:", *tail]) if left else ""
    return outcomes | {name: Outcome(End.UNREACHED, detail=detail) for name in left}
