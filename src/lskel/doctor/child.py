"""Running a function in a child process, so that it leaves nothing in this one."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import NamedTuple, NoReturn, TypeVar

from lskel.errors import LskelError
from lskel.runtime.objects import Fd
from lskel.runtime.signals import uninterrupted

_T = TypeVar("_T")
_CHUNK = 1 << 16
_REPORT = "a bug: report it with the output"


class Killed(LskelError):
    """A signal killed the child."""


class _Failed(NamedTuple):
    """The error of the child."""

    what: str
    hint: str


def in_child(function: Callable[[], _T]) -> _T:
    """Run the function in a child process and return its result.

    Killed if a signal ends the child; LskelError if fork fails, or if the function raised an
    LskelError or OSError, with its text and hint.

    Ctrl-C ends the child, except in `uninterrupted` blocks, and waits for it.
    """
    answers, write = map(Fd, os.pipe())
    child = status = 0
    with answers:
        try:
            with write, uninterrupted():
                child = fork()
                if child == 0:
                    _child(function, write.fileno())
            answer = b"".join(iter(lambda: os.read(answers.fileno(), _CHUNK), b""))
        except BaseException:
            if child:
                os.kill(child, signal.SIGINT)
            raise
        finally:
            if child:
                _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        raise Killed(
            f"the process was killed by {signal.Signals(-code).name}",
            hint="a seccomp filter may kill processes that call bpf(2): allow it in the profile",
        )
    if code:
        raise LskelError("the process failed", hint=_REPORT)
    result: _T | _Failed = pickle.loads(answer)
    if isinstance(result, _Failed):
        raise LskelError(result.what, hint=result.hint)
    return result


def fork() -> int:
    """As os.fork, but with LskelError on failure."""
    try:
        return os.fork()
    except OSError as error:
        raise LskelError(
            f"cannot create a child process: {error.strerror}",
            hint="check ulimit -u, pids.max of the cgroup, and free memory",
        ) from error


def _outcome(function: Callable[[], object]) -> object:
    try:
        return function()
    except LskelError as error:
        return _Failed(": ".join([*error.places, error.what]), error.hint or _REPORT)
    except OSError as error:
        return _Failed(str(error), "check that /proc and /sys are mounted and readable")


def _child(function: Callable[[], object], write: int) -> NoReturn:
    try:
        # An asynchronous exception could leave locks taken.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        answer = memoryview(pickle.dumps(_outcome(function)))
        while answer:
            answer = answer[os.write(write, answer) :]
        os._exit(0)
    except BrokenPipeError:
        pass  # the parent is gone
    except BaseException:  # noqa: BLE001 - the child must not go on with the parent's work
        traceback.print_exc()
    finally:
        os._exit(1)
