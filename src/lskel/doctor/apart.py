"""Doing something in a child process, so that nothing of it stays with this one."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import NoReturn, TypeVar

from lskel.errors import LskelError
from lskel.runtime.signals import uninterrupted

_T = TypeVar("_T")


def apart(function: Callable[[], _T]) -> _T:
    """What the function returns in a child process; LskelError where the child is killed.

    On Ctrl-C the child is interrupted, too, and waited for.
    """
    with uninterrupted():
        answers, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(answers)
            _child(function, write)
        os.close(write)
    try:
        with os.fdopen(answers, "rb") as file:
            answer = file.read()
    except BaseException:
        os.kill(child, signal.SIGINT)
        raise
    finally:
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise LskelError(
            f"it was ended by {signal.Signals(-code).name}" if code < 0 else "it failed",
            hint="a seccomp filter may kill who calls bpf(2): allow it in the profile",
        )
    result: _T = pickle.loads(answer)
    return result


def _child(function: Callable[[], object], write: int) -> NoReturn:
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        answer = pickle.dumps(function())
        with os.fdopen(write, "wb") as file:
            file.write(answer)
        os._exit(0)
    except KeyboardInterrupt:
        pass  # the parent says so
    except BaseException:  # noqa: BLE001 - the child must not go on with the parent's work
        traceback.print_exc()
    finally:
        os._exit(1)
