"""The desk: who types, what goes on from line to line, and that nothing of it stays."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import lacking
from tests.docs.desk import Desk, desk

pytestmark = pytest.mark.kernel
CAP_DAC_READ_SEARCH = 2


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Desk]:
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        lacking("util-linux is not installed")
    with desk(tmp_path, "true") as there:
        yield there


def test_any_user(made: Desk) -> None:
    """May read, write in the directory, and nothing else that others may not."""
    printed = made.type("id -u; grep CapEff /proc/self/status; touch mine", as_root=False)
    uid, _, capabilities = printed.text.split()
    assert printed.status == 0
    assert uid == "65534" and int(capabilities, 16) == 1 << CAP_DAC_READ_SEARCH
    assert made.type("touch /sys/fs/bpf/x", as_root=False).status != 0
    assert made.type("id -u", as_root=True).text == "0\n"


def test_python_goes_on(made: Desk) -> None:
    assert made.python("x = 6\nprint(x)") == "6\n"
    assert "ZeroDivisionError" in made.python("x / 0")
    assert made.python("print(x * 7)") == "42\n"


def test_interrupt(made: Desk) -> None:
    printed = made.type(
        "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.1; done",
        as_root=True,
        until=lambda text: "ready" in text,
    )
    assert printed == ("ready\ninterrupted\n", 5)


def test_nothing_stays(tmp_path: Path) -> None:
    pin = Path("/sys/fs/bpf/lskel-desk")
    with desk(tmp_path, "true") as there:
        done = there.type(
            f"lskel load examples/hello.bpf.o --pin {pin} && ls {pin} && ip link show eth0",
            as_root=True,
        )
        assert done.status == 0 and "hello_bss" in done.text and "eth0@peer0" in done.text
        assert not pin.exists()
    assert not pin.exists()
    assert not any("peer0" in line for line in Path("/proc/net/dev").read_text().splitlines())
