"""What a command may do while it reads an input: limits, and an audit hook that sees the rest."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

# CPU time, so that a busy machine is no fault of an input.
SECONDS = 20.0
# Address space beyond what the process has before.
BYTES = 1 << 30

_PR_SET_PDEATHSIG = 1
_CAPABILITY_VERSION_3 = 0x20080522
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Events whose first arguments are paths, which have to be in the directory of the run.
_PATHS = {
    **dict.fromkeys(
        ("os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.truncate"), 1
    ),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink"), 2),
}
_NEVER = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.kill", "os.putenv")
_NEVER_BY = ("subprocess.", "socket.", "shutil.", "ftplib.", "urllib.", "webbrowser.", "pty.")
# What lskel imports besides the standard library.
_PACKAGES = {
    *("lskel", "click", "jinja2", "markupsafe", "rich", "pygments"),
    *("markdown_it", "mdurl", "typing_extensions"),
}
# Code that may be compiled and executed is of files here, or of SKELETON.
_CODE_OF = (str(Path(os.__file__).parent), str(Path(__file__).parents[2] / "src"), sys.prefix)
# The file name of a generated module that is executed to be watched.
SKELETON = "<skeleton>"
# What `ast.parse` gives `compile`, which executes nothing.
_PARSED = "<unknown>"


class Caught(BaseException):
    """Something that no input may lead to; not an Exception, so that nothing takes it for one."""


class OutOfTime(Caught):
    """An input took too long."""


class Watch:
    """An audit hook, active within `watching`. It stays for as long as the process lives."""

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)
        self.seen: list[str] = []
        self._active = self._strict = False
        sys.addaudithook(self._hook)

    @contextmanager
    def watching(self, *, strict: bool = False) -> Iterator[None]:
        """See what the block does; `strict`: it runs generated text, which opens no file either."""
        before = self._active, self._strict
        self._active, self._strict = True, strict
        try:
            yield
        finally:
            self._active, self._strict = before

    @contextmanager
    def limited(self, *, memory: bool = True) -> Iterator[None]:
        """Let the block raise OutOfTime or MemoryError beyond what any input may take."""
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        allowed = pages * resource.getpagesize() + BYTES if memory else soft
        resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
        # Again and again, should a `finally` have to be left, too.
        signal.setitimer(signal.ITIMER_PROF, SECONDS, 1)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._active:
            return
        told = self._told(event, args)
        if told:
            self._active = False
            self.seen.append(told)
            raise Caught(told)

    def _told(self, event: str, args: tuple[Any, ...]) -> str:
        """What is wrong with an event; empty where nothing is."""
        if event == "open":
            path, _, flags = args
            if self._strict or (flags or 0) & _WRITES:
                return "" if self._is_ours(path) and not self._strict else f"open {path!r}"
        elif event in _PATHS:
            wrong = [path for path in args[: _PATHS[event]] if not self._is_ours(path)]
            return f"{event} {wrong}" if wrong or self._strict else ""
        elif event in _NEVER or event.startswith(_NEVER_BY):
            return f"{event} {args!r}"[:200]
        elif event == "import":
            package = args[0].split(".")[0]
            known = package in sys.stdlib_module_names or package in _PACKAGES
            return "" if known else f"import {args[0]}"
        elif event == "compile" or event == "exec":
            return _of_code(event, args)
        return ""

    def _is_ours(self, path: Any) -> bool:
        if isinstance(path, int):
            return True
        full = Path(os.path.normpath(self.directory / os.fsdecode(path)))
        return self.directory in full.parents or str(full) == os.devnull


def _of_code(event: str, args: tuple[Any, ...]) -> str:
    code = args[0]
    name = code.co_filename if isinstance(code, CodeType) else args[-1]
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    known = name in (SKELETON, _PARSED) or name.startswith(("<frozen ", *_CODE_OF))
    return "" if known else f"{event} of code of {name}"


def start(directory: str) -> Watch:
    """The watch of this process, which can do nothing to the machine from now on."""
    signal.signal(signal.SIGPROF, _out_of_time)
    libc = ctypes.CDLL(None, use_errno=True)
    _call(libc.prctl, _PR_SET_PDEATHSIG, signal.SIGKILL)
    # As root, become a process that the kernel lets do what any user may: no bpf(2).
    header, nothing = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    _call(libc.capset, header, nothing)
    return Watch(directory)


def _out_of_time(_signal: int, _frame: FrameType | None) -> None:
    raise OutOfTime(f"more than {SECONDS:.0f} s")


def _call(function: Callable[..., int], *args: Any) -> None:
    if function(*args):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
