"""Booting other kernels: QEMU by way of virtme-ng, with this machine's files to read."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tests.vm import kernels
from tests.vm.job import End, Job, Outcome, read_outcomes, write_jobs
from tests.vm.kernels import Kernel

_ROOT = Path(__file__).parent.parent.parent
_TAIL = 40
# vng calls virtme-run, which lies beside it, and that calls modprobe.
_PATH = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]
)


class Machine(NamedTuple):
    """What became of the jobs in one kernel, by their names."""

    release: str
    outcomes: Mapping[str, Outcome]
    config: str = ""  # the text of the configuration of the booted kernel

    def value(self, name: str) -> Any:
        """What a job returned; AssertionError where it did not return."""
        outcome = self.outcomes[name]
        assert outcome.end is End.RETURNED, f"{name}: {outcome.end.value}: {outcome.detail}"
        return outcome.value


def missing(series: str) -> str:
    """Why no kernel of the series boots here; empty if one does."""
    tools = ("vng", "qemu-system-x86_64", "busybox", "modprobe")
    lacking = [tool for tool in tools if not shutil.which(tool, path=_PATH)]
    why = f"it needs {', '.join(lacking)}" if lacking else kernels.missing(series)
    return f"no machine with Linux {series}: {why}" if why else ""


def boot(
    kernel: Kernel, jobs: Sequence[Job], directory: Path, limit: float, options: str = ""
) -> Machine:
    """Boot the kernel, run the jobs in it, and power off; at the latest after `limit` seconds.

    The directory belongs to this boot. Jobs see the host's files, but the kernel's own modules and
    /boot; what they write is lost unless it is in the directory. `options` go to the kernel's
    command line.
    """
    own_boot = f"--bind {shlex.quote(str(kernel.boot))}" if kernel.boot else "-t tmpfs none"
    script = (
        f"export PYTHONPATH={shlex.quote(os.environ.get('PYTHONPATH', ''))}",
        f"mount {own_boot} /boot",
        f"cd {shlex.quote(str(_ROOT))}",
        shlex.join(_batch(directory)),
    )
    command = [
        *("vng", "--verbose", "--run", str(kernel.image), "--disable-kvm"),
        *("--user", "root", "--cpus", "2", "--memory", "2G", "--rwdir", str(directory)),
        # The second CPU is for the tests that bring it online.
        *("--append", f"maxcpus=1 {options}".strip()),
        *("--", " && ".join(script)),
    ]
    return Machine(kernel.release, _run(command, jobs, directory, limit), kernel.config)


def run_all(
    targets: Sequence[Kernel | None], jobs: Sequence[Job], directory: Path, limit: float
) -> list[Machine]:
    """Run the jobs in each of the kernels, None being the running one: one on each CPU."""

    def run(kernel: Kernel | None) -> Machine:
        shared = directory / (kernel.series if kernel else "here")
        shared.mkdir()
        return boot(kernel, jobs, shared, limit) if kernel else run_here(jobs, shared, limit)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(run, targets))


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
