"""Network namespaces and cgroups of a test's own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.conftest import lacking

# Debian keeps ip and tc here, which is not on everybody's PATH.
_PATH = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
_CLONE_NEWNET = 0x40000000
_OWN_NETNS = "/proc/thread-self/ns/net"


class CommandFailed(AssertionError):
    """A command failed; says which, and what it said."""


def command(*words: str) -> str:
    """Run ip(8) or another command in the network namespace of this thread; its stdout."""
    try:
        done = subprocess.run(
            words, env={**os.environ, "PATH": _PATH, "LC_ALL": "C"}, capture_output=True, text=True
        )
    except FileNotFoundError:
        lacking(f"{words[0]} is not installed")
    if done.returncode:
        raise CommandFailed(f"{' '.join(words)}: {done.stderr or done.stdout}")
    return done.stdout


@contextlib.contextmanager
def network_namespace() -> Iterator[None]:
    """Put this thread into a new network namespace, with lo up, and back."""
    libc = ctypes.CDLL(None, use_errno=True)
    outside = os.open(_OWN_NETNS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            command("ip", "link", "set", "lo", "up")
            yield
        finally:
            assert libc.setns(outside, _CLONE_NEWNET) == 0
    finally:
        os.close(outside)


@contextlib.contextmanager
def cgroup() -> Iterator[Path]:
    """A new cgroup of version 2 below the root; it must be empty in the end."""
    with _cgroup_root() as root:
        path = Path(tempfile.mkdtemp(prefix="lskel-test-", dir=root))
        path.chmod(0o755)
        try:
            yield path
        finally:
            path.rmdir()


@contextlib.contextmanager
def _cgroup_root() -> Iterator[Path]:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            yield Path(place)
            return
    with tempfile.TemporaryDirectory() as place:
        command("mount", "-t", "cgroup2", "cgroup2", place)
        try:
            yield Path(place)
        finally:
            command("umount", place)


def in_child(group: Path, event: Callable[[], object]) -> None:
    """Have something done by a child process in a cgroup, which leaves it by ending."""
    child = os.fork()
    if child == 0:
        try:
            (group / "cgroup.procs").write_text(str(os.getpid()))
            event()
            os._exit(0)
        except BaseException:  # noqa: BLE001  the child must not go on with the parent's work
            traceback.print_exc()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status == 0, "the child failed: see its stderr"
