"""Doing something in a child process, so that nothing of it stays with this one."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import NoReturn, TypeVar

from lskel.errors import LskelError
from lskel.runtime.objects import Fd
from lskel.runtime.signals import uninterrupted

_T = TypeVar("_T")
_CHUNK = 1 << 16


def apart(function: Callable[[], _T]) -> _T:
    """What the function returns in a child process; LskelError where that is killed.

    Ctrl-C ends the child wherever it is, but for blocks that are `uninterrupted`; it is waited for.
    """
    answers, write = map(Fd, os.pipe())
    child = status = 0
    with answers:
        try:
            with write, uninterrupted():
                child = _fork()
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
    if code:
        raise LskelError(
            f"the process was ended by {signal.Signals(-code).name}" if code < 0 else "it failed",
            hint="a seccomp filter may kill who calls bpf(2): allow it in the profile",
        )
    result: _T = pickle.loads(answer)
    return result


def _fork() -> int:
    try:
        return os.fork()
    except OSError as error:
        raise LskelError(f"no child process can be made: {error.strerror}") from error


def _child(function: Callable[[], object], write: int) -> NoReturn:
    try:
        # An exception that comes in the midst of anything would leave locks of threads taken.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        answer = memoryview(pickle.dumps(function()))
        while answer:
            answer = answer[os.write(write, answer) :]
        os._exit(0)
    except BrokenPipeError:
        pass  # the parent is gone
    except BaseException:  # noqa: BLE001 - the child must not go on with the parent's work
        traceback.print_exc()
    finally:
        os._exit(1)
