"""Asking doctor, as jobs of a machine."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lskel
from lskel.doctor import report
from lskel.doctor.finding import Answer
from lskel.doctor.object import examine_object
from lskel.doctor.sandbox import cgroup_root
from tests.attach.tracefs import mounted_tracefs
from tests.loads import load_by_loader


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


class Outcome(NamedTuple):
    """What doctor says of an object, and what loading it says: empty where it loads."""

    doctor: str
    load: str
    in_the_way: list[int | None]
    op: int | None


def would_load(path: str) -> Outcome:
    """Ask doctor about an object or bundle, then load it."""
    source = Path(path)
    is_bundle = source.suffix == ".lskel"
    loader = lskel.Loader.load(path) if is_bundle else lskel.generate(lskel.open_object(path))
    examined = examine_object(loader)
    in_the_way = [i.op for i in examined.items if i.finding.answer is Answer.NO]
    said = "" if examined.loads else str(examined)
    try:
        load_by_loader(loader).close()
    except lskel.LskelError as error:
        op = error.op if isinstance(error, lskel.ReplayError) else None
        return Outcome(said, str(error), in_the_way, op)
    return Outcome(said, "", in_the_way, None)


def would_load_all(paths: list[str]) -> dict[str, Outcome]:
    """All of them."""
    return {path: would_load(path) for path in paths}


def check(outcome: Outcome) -> None:
    """Both say the same; the operation that loading fails with is in the way for doctor, too."""
    assert (outcome.doctor == "") == (outcome.load == ""), outcome
    assert outcome.op is None or outcome.op in outcome.in_the_way, outcome
