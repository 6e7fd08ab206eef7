"""Doing something in a child process, so that nothing of it stays with this one."""

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
_REPORT = "this should not be: please report it, with what it printed"


class Killed(LskelError):
    """A signal has ended the child."""


class _Failed(NamedTuple):
    """What kept the child from an answer."""

    what: str
    hint: str


def apart(function: Callable[[], _T]) -> _T:
    """What the function returns in a child process.

    Killed where a signal ends that; LskelError where there can be no child, or where the function
    raised such an error or an OSError, with its text and hint.

    Ctrl-C ends the child wherever it is, but for blocks that are `uninterrupted`; it is waited for.
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
            f"the process was ended by {signal.Signals(-code).name}",
            hint="a seccomp filter may kill who calls bpf(2): allow it in the profile",
        )
    if code:
        raise LskelError("the process failed", hint=_REPORT)
    result: _T | _Failed = pickle.loads(answer)
    if isinstance(result, _Failed):
        raise LskelError(result.what, hint=result.hint)
    return result


def fork() -> int:
    """As os.fork; LskelError where there can be no child."""
    try:
        return os.fork()
    except OSError as error:
        raise LskelError(
            f"no child process can be made: {error.strerror}",
            hint="see ulimit -u, the cgroup's pids.max, and the memory that is free",
        ) from error


def _outcome(function: Callable[[], object]) -> object:
    try:
        return function()
    except LskelError as error:
        return _Failed(": ".join([*error.places, error.what]), error.hint or _REPORT)
    except OSError as error:
        return _Failed(str(error), "see whether /proc and /sys are mounted, and may be read")


def _child(function: Callable[[], object], write: int) -> NoReturn:
    try:
        # An exception that comes in the midst of anything would leave locks of threads taken.
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
