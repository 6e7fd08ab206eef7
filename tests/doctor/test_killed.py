"""lskel doctor, killed by SIGKILL at any moment, leaves nothing behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from lskel.doctor.sandbox import cgroup_root
from tests.doctor.exercise import mounted
from tests.doctor.left import nothing_left
from tests.doctor.test_report import COMMAND

pytestmark = pytest.mark.kernel

MARK = "LSKEL_TEST_OF_DOCTOR"
ROUNDS = 6
# A run takes some seconds at most; what it does is seen within so many runs.
TRIES = 20
CONGESTION_CONTROL = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


class Doctor:
    """A run of its own session; all its processes are known by their environment."""

    def __init__(self) -> None:
        self._mark = f"{MARK}={uuid.uuid4()}"
        name, _, value = self._mark.partition("=")
        self.process = subprocess.Popen(
            COMMAND,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, name: value},
            start_new_session=True,
        )

    def pids(self) -> list[int]:
        """Of all its processes."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue  # it has ended meanwhile
        return found

    def kill_group(self) -> None:
        """As a terminal that closes for good, or a supervisor, would."""
        os.killpg(self.process.pid, signal.SIGKILL)

    def kill_first(self) -> None:
        """Only the one that was started; its child goes on to its end."""
        self.process.kill()

    def kill_child(self) -> None:
        """Only the one that tries things."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGKILL)

    def wait(self) -> None:
        """Until all its processes are gone."""
        self.process.wait()
        deadline = time.monotonic() + 60
        while self.pids():
            assert time.monotonic() < deadline, f"still there: {self.pids()}"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def duration() -> float:
    """Seconds from the start of the command to its end."""
    begin = time.monotonic()
    subprocess.run(COMMAND, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - begin


@pytest.mark.parametrize("kill", [Doctor.kill_group, Doctor.kill_first, Doctor.kill_child])
def test_at_any_moment(kill: Callable[[Doctor], None], duration: float) -> None:
    moments = random.Random(kill.__name__)
    with mounted(), nothing_left():
        for _ in range(ROUNDS):
            doctor = Doctor()
            time.sleep(moments.uniform(0.1, 1) * duration)
            if doctor.process.poll() is None:
                kill(doctor)
            doctor.wait()


def _cgroup() -> bool:
    return any(Path(cgroup_root()).glob("lskel-doctor-*"))


def _struct_ops() -> bool:
    return "lskel_" in CONGESTION_CONTROL.read_text()


@pytest.mark.parametrize("is_there", [_cgroup, _struct_ops])
def test_while_something_is_there_that_others_see(is_there: Callable[[], bool]) -> None:
    """A cgroup, and struct_ops that are registered."""
    with mounted(), nothing_left():
        for _ in range(TRIES):
            doctor = Doctor()
            while doctor.process.poll() is None:
                if is_there():
                    doctor.kill_group()
                    doctor.wait()
                    return
            doctor.wait()
    pytest.fail("it was never seen")
