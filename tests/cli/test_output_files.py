"""Files that lskel writes: whole or not at all, and nothing else changes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from lskel.errors import UsageError
from lskel.output import write_whole
from tests.build.clang import example
from tests.cli.terminals import LSKEL
from tests.conftest import lacking

NOBODY = 65534


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.usefixtures("umask")
def test_modes(tmp_path: Path) -> None:
    target = tmp_path / "x"
    write_whole(target, b"new")
    assert mode(target) == 0o640
    for kept in (0o600, 0o666, 0o755, 0o444):
        target.chmod(kept)
        write_whole(target, b"again")
        assert mode(target) == kept and target.read_bytes() == b"again"
    target.chmod(0o4755)
    write_whole(target, b"again")
    assert mode(target) == 0o755
    assert names(tmp_path) == ["x"]


def test_links(tmp_path: Path) -> None:
    """As a shell's redirection: the link stays, and what it leads to is written."""
    (tmp_path / "there").mkdir()
    real, link, other = tmp_path / "there" / "real", tmp_path / "link", tmp_path / "other"
    link.symlink_to("there/real")
    other.symlink_to(link)
    for content in (b"made", b"replaced"):  # it leads nowhere at first
        write_whole(other, content)
        assert link.is_symlink() and other.is_symlink() and real.read_bytes() == content
    assert names(real.parent) == ["real"]
    hard = tmp_path / "hard"
    hard.hardlink_to(real)
    write_whole(real, b"apart")
    assert hard.read_bytes() == b"replaced"
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    with pytest.raises(UsageError, match="loop: cannot write: Too many levels"):
        write_whole(loop, b"")


@pytest.fixture
def protected() -> Iterator[None]:
    """Links are protected meanwhile, as most distributions have it."""
    setting = Path("/proc/sys/fs/protected_symlinks")
    if os.geteuid() != 0 or not os.access(setting, os.W_OK):
        lacking("setting fs.protected_symlinks needs root")
    before = setting.read_text()
    setting.write_text("1")
    yield
    setting.write_text(before)


@pytest.mark.usefixtures("protected")
@pytest.mark.parametrize("exists", [True, False])
def test_protected_links(tmp_path: Path, exists: bool) -> None:
    """What others put into a directory that all may write to, the kernel does not let us follow."""
    shared, victim = tmp_path / "shared", tmp_path / "victim"
    shared.mkdir()
    shared.chmod(0o1777)
    if exists:
        victim.write_bytes(b"precious")
    link = shared / "x.lskel"
    link.symlink_to(victim)
    os.lchown(link, NOBODY, NOBODY)
    with pytest.raises(UsageError, match="cannot write: Permission denied"):
        write_whole(link, b"bad")
    assert victim.read_bytes() == b"precious" if exists else not victim.exists()


def test_names_are_not_known(tmp_path: Path) -> None:
    """A file of the process's number, which older versions wrote through, stays."""
    trap = tmp_path / f".x.{os.getpid()}"
    victim = tmp_path / "victim"
    trap.symlink_to(victim)
    write_whole(tmp_path / "x", b"content")
    assert trap.is_symlink() and not victim.exists()


def test_how_it_is_opened(tmp_path: Path) -> None:
    """By strace: the name is new each time, and a link in its place would be refused."""
    strace = shutil.which("strace")
    if strace is None:
        lacking("strace is not installed")
    seen = set()
    log, target = tmp_path / "log", tmp_path / "x.lskel"
    for _ in range(2):
        done = subprocess.run(
            [strace, "-etrace=openat", "-o", log, *LSKEL, "gen", example("hello"), "-o", target],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            lacking("strace may not trace")
        (found,) = re.findall(rf'"({tmp_path}/\.lskel-[0-9a-f]+)", ([A-Z_|]+)', log.read_text())
        seen.add(found[0])
        assert {"O_CREAT", "O_EXCL", "O_NOFOLLOW"} <= set(found[1].split("|"))
    assert len(seen) == 2


def test_long_names_and_pipes(tmp_path: Path) -> None:
    longest = tmp_path / ("x" * 255)
    write_whole(longest, b"content")
    assert longest.read_bytes() == b"content"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    got: list[bytes] = []
    reader.start()
    write_whole(pipe, b"through")
    reader.join()
    assert got == [b"through"] and stat.S_ISFIFO(pipe.stat().st_mode)
    write_whole("/dev/null", b"")
    with pytest.raises(UsageError, match="cannot write: Is a directory"):
        write_whole(tmp_path, b"")


def test_what_cannot_be_written_stays(tmp_path: Path) -> None:
    """Where the disk is full, say: here, where files may not be so large."""
    target = tmp_path / "x"
    target.write_bytes(b"before")
    script = (
        "import resource, signal, sys, lskel.output as output\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "output.write_whole(sys.argv[1], bytes(1 << 20))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(target)], capture_output=True, text=True, check=False
    )
    assert "UsageError" in done.stderr and "cannot write: File too large" in done.stderr
    assert target.read_bytes() == b"before" and names(tmp_path) == ["x"]


def test_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x"
    target.write_bytes(b"before")

    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(os, "fchmod", interrupt)  # when the new file has its content
    with pytest.raises(KeyboardInterrupt):
        write_whole(target, b"after")
    assert target.read_bytes() == b"before" and names(tmp_path) == ["x"]


def _write_often(path: Path, number: int) -> None:
    for _ in range(50):
        write_whole(path, bytes([number]) * 300_000)


def test_many_writers(tmp_path: Path) -> None:
    target = tmp_path / "x"
    write_whole(target, bytes(300_000))
    context = get_context("fork")
    writers: list[Any] = [
        *(context.Process(target=_write_often, args=(target, n)) for n in range(2)),
        *(threading.Thread(target=_write_often, args=(target, n)) for n in range(2, 4)),
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        content = target.read_bytes()
        assert len(content) == 300_000 and len(set(content)) == 1
    for writer in writers:
        writer.join()
    assert names(tmp_path) == ["x"]
