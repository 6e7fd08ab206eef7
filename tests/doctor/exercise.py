"""Asking doctor, as jobs of a machine."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

from lskel.doctor import report
from lskel.doctor.places import cgroup_root
from tests.attach.tracefs import mounted_tracefs


@contextlib.contextmanager
def mounted() -> Iterator[None]:
    """Mounts that tests of attaching make, too, where there are none: tracefs and cgroup2."""
    with mounted_tracefs(), contextlib.ExitStack() as stack:
        if not cgroup_root():
            place = stack.enter_context(tempfile.TemporaryDirectory())
            subprocess.run(["mount", "-t", "cgroup2", "cgroup2", place], check=True)
            stack.callback(subprocess.run, ["umount", place], check=True)
        yield


def whole_report() -> dict[str, Any]:
    """The report, where all is mounted that it takes."""
    with mounted():
        return report.as_json(report.examine())
