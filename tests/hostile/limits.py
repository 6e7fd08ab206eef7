"""Running something that may not take more than an input of a megabyte may cost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# Beyond what Python and lskel themselves map.
MEMORY = (1 << 30) + (256 << 20)
SECONDS = 20


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limited(
    module: str, args: Sequence[str | Path], directory: Path, *, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module`` in a directory, killed where it takes too much."""
    return subprocess.run(
        [sys.executable, "-m", module, *args],
        input=given,
        capture_output=True,
        text=True,
        errors="replace",
        cwd=directory,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=_limit,
        check=False,
    )


def refusal(done: subprocess.CompletedProcess[str], *statuses: int) -> str:
    """The one line of error of a command that refused its input; warnings may come before it."""
    assert done.returncode in (statuses or (1,)), done
    *warnings, error = done.stderr.splitlines()
    assert all(line.startswith("lskel: warning: ") for line in warnings), done.stderr
    assert error.startswith("lskel: ")
    assert error.isprintable()
    return error
