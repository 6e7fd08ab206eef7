"""What is done in a child process, and in places of our own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from lskel.doctor.child import Killed, in_child
from lskel.doctor.sandbox import cgroup_root, own_cgroup
from lskel.errors import LskelError, at
from tests.doctor.exercise import mounted


def fails_with_a_hint() -> None:
    with at("here"):
        raise LskelError("it is broken", hint="mend it")


def fails_with_an_errno() -> None:
    Path("/no/such/file").read_bytes()


def is_killed() -> None:
    os.kill(os.getpid(), signal.SIGSYS)


def has_a_defect() -> None:
    raise AssertionError


def test_what_it_returns() -> None:
    assert in_child(lambda: (os.getppid(), "x" * 100_000)) == (os.getpid(), "x" * 100_000)


@pytest.mark.parametrize(
    ("function", "said", "hint"),
    [
        (fails_with_a_hint, "here: it is broken", "mend it"),
        (fails_with_an_errno, "No such file or directory: '/no/such/file'", "mounted"),
        (is_killed, "killed by SIGSYS", "seccomp"),
        (has_a_defect, "the process failed", "report it"),
    ],
)
def test_why_it_returns_nothing(
    function: Callable[[], None], said: str, hint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LskelError) as caught:
        in_child(function)
    assert said in caught.value.what
    assert hint in caught.value.hint
    assert isinstance(caught.value, Killed) == (function is is_killed)
    # What is no defect of ours has no traceback.
    assert ("Traceback" in capfd.readouterr().err) == (function is has_a_defect)


@pytest.mark.kernel
def test_a_cgroup_that_somebody_else_uses() -> None:
    with mounted():
        with (
            pytest.raises(LskelError, match="cannot remove") as caught,
            own_cgroup(cgroup_root()) as place,
        ):
            path = Path(place)
            (path / "other").mkdir()
        (path / "other").rmdir()
        path.rmdir()
    assert caught.value.hint.endswith(f"rmdir {path}")
