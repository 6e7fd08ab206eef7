"""What stays attached when the process is killed is what docs/attach.md says."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lskel.bpf.enums import ProgType
from lskel.runtime.attach.clsact import Direction, attach_clsact
from lskel.runtime.attach.xdp import attach_xdp
from lskel.runtime.info import prog_info
from lskel.runtime.objects import ObjectKind, ids, obj_get, obj_pin
from tests.attach.table import KILLED
from tests.runtime.namespaces import command, network_namespace
from tests.runtime.programs import load_program, returns

pytestmark = pytest.mark.kernel

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "attach.md"


def test_documented() -> None:
    text = DOCUMENT.read_text()
    assert all(f"| {attached} | {what} |" in text for attached, what in KILLED)


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with network_namespace():
        yield


def killed_after(attach: Callable[[int], object], prog_type: ProgType) -> int:
    """Have a process attach a program, and kill it; the program's id."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            program = load_program(prog_type, returns(0))
            held = attach(program.fileno())
            os.write(write, str(prog_info(program.fileno()).id).encode())
            signal.pause()
            del held
        finally:
            os._exit(1)
    os.close(write)
    number = os.read(read, 16)
    os.close(read)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return int(number)


def goes(program: int) -> bool:
    """Whether the kernel frees a program; it takes its time."""
    deadline = time.monotonic() + 60
    while program in ids(ObjectKind.PROG):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_link_is_detached() -> None:
    def attach(program: int) -> object:
        return attach_xdp(program, "lo")

    program = killed_after(attach, ProgType.XDP)
    assert goes(program)
    assert "xdp" not in command("ip", "link", "show", "lo")


def test_a_pinned_link_stays(bpffs: Path) -> None:
    def attach(program: int) -> None:
        with attach_xdp(program, "lo") as link:
            obj_pin(link.fileno(), bpffs / "link")

    program = killed_after(attach, ProgType.XDP)
    assert f"id {program}" in command("ip", "link", "show", "lo")
    obj_get(bpffs / "link").close()
    (bpffs / "link").unlink()
    assert goes(program)


def test_a_filter_of_clsact_stays_until_the_qdisc_goes() -> None:
    def attach(program: int) -> object:
        return attach_clsact(program, "lo", Direction.INGRESS)

    program = killed_after(attach, ProgType.SCHED_CLS)
    assert f"id {program}" in command("tc", "filter", "show", "dev", "lo", "ingress")
    command("tc", "qdisc", "del", "dev", "lo", "clsact")
    assert goes(program)
