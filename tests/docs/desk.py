"""Where a page is followed: a directory with examples/ in it, in namespaces of its own.

What is pinned, attached to an interface or mounted there is gone with the namespaces. Meanwhile
something happens on the machine, so that there is something to trace.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.build.clang import EXAMPLES, INCLUDE

TIMEOUT = 60
# Where the installed commands are: lskel's own, and those that Debian keeps from users.
_BIN = Path(sys.executable).parent
_SBIN = ("/usr/sbin", "/sbin")
# The directory where every user finds it; a bpffs and a network of its own; tracefs, which most
# systems mount; then it waits for its end.
_ROOM = """
mount --bind "$1" /mnt
mount -t bpf bpf /sys/fs/bpf
[ -d /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing
ip link set lo up
ip link add eth0 type veth peer name peer0
ip link set eth0 up
ip link set peer0 up
echo ready
exec sleep infinity
"""
# Any user: the one who is nobody, and finds this tree wherever it lies.
_NOBODY = 65534
_ANY_USER = (
    *("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--no-new-privs"),
    *(f"--{kind}=-all,+dac_read_search" for kind in ("bounding-set", "inh-caps", "ambient-caps")),
)
_WORK = Path(__file__).with_name("work.py")
_INTERPRETER = Path(__file__).with_name("interpreter.py")


class Printed(NamedTuple):
    """What a command printed, both to standard output and error, and how it ended."""

    text: str
    status: int


class Desk:
    """A directory, the commands that are run in it, and an interpreter of Python."""

    def __init__(self, directory: Path, enter: tuple[str, ...], stack: ExitStack) -> None:
        self.directory = directory
        self._enter = enter
        self._stack = stack
        self._environment = {
            **os.environ,
            "PATH": os.pathsep.join(["/mnt/bin", str(_BIN), os.environ["PATH"], *_SBIN]),
            "HOME": "/mnt",
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "100",
        }
        self._python: subprocess.Popen[str] | None = None

    def start(self, *command: str | Path) -> subprocess.Popen[str]:
        """Start a process at the desk."""
        return subprocess.Popen(
            [*self._enter, *map(str, command)],
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def keep(self, *command: str | Path) -> subprocess.Popen[str]:
        """Start a process that ends with the desk."""
        process = self._stack.enter_context(self.start(*command))
        self._stack.callback(process.kill)
        return process

    def type(
        self, command: str, *, as_root: bool, until: Callable[[str], bool] | None = None
    ) -> Printed:
        """Run a command to its end; or `until` is content with what it printed, and then Ctrl-C."""
        who = () if as_root else _ANY_USER
        with self.start(*who, "bash", "-c", command) as process:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.close()
            text = ""
            deadline = time.monotonic() + TIMEOUT
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                while selector.select(max(0, deadline - time.monotonic())):
                    data = os.read(process.stdout.fileno(), 1 << 16)
                    if not data:
                        return Printed(text, process.wait(TIMEOUT))
                    text += data.decode(errors="replace")
                    if until is not None and until(text):
                        os.killpg(process.pid, signal.SIGINT)
                        until = None
            os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"not done after {TIMEOUT} s: {command}\n{text}")

    def python(self, text: str) -> str:
        """Run Python where the last piece ended; what it prints, with the traceback if it fails."""
        if self._python is None:
            self._python = self.keep(sys.executable, "-u", _INTERPRETER)
        python = self._python
        assert python.stdin is not None and python.stdout is not None
        python.stdin.write(json.dumps(text) + "\n")
        python.stdin.flush()
        return str(json.loads(python.stdout.readline()))


@contextmanager
def desk(directory: Path, clang: str) -> Iterator[Desk]:
    """A desk in a directory, which is empty before; `clang` is what is called by that name."""
    shutil.copytree(EXAMPLES, directory / "examples")
    (directory / "bin").mkdir()
    # The option that the pages name for Debian.
    wrapper = directory / "bin" / "clang"
    wrapper.write_text(f'#!/bin/sh\nexec {clang} -idirafter {INCLUDE} "$@"\n')
    wrapper.chmod(0o755)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, _NOBODY, _NOBODY)
    with ExitStack() as stack:
        unshare = Desk(directory, ("unshare", "--mount", "--net"), stack)
        room = unshare.keep("sh", "-ec", _ROOM, "sh", directory)
        assert room.stdout is not None
        assert room.stdout.readline() == "ready\n"
        enter = ("nsenter", "--target", str(room.pid), "--mount", "--net", "--wdns=/mnt")
        made = Desk(directory, enter, stack)
        work = made.keep(sys.executable, _WORK)
        assert work.stdout is not None and work.stdout.readline() == "working\n"
        yield made
