"""Why a loader failed: which operation, and the kernel's log of it."""

from __future__ import annotations

import errno
import sys

from lskel.bpf import context
from lskel.runtime.failure import before_first, failure, returned, split_log
from lskel.tasks import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.errors import LskelError, ReplayError
    from lskel.runtime.image import Image, Run
    from lskel.runtime.loader import Result
    from lskel.runtime.request import Request

# Sizes of the log buffer, tried in order: the last is the maximum of old kernels.
_LOG_SIZES = (1 << 20, (1 << 24) - 1)
_NUMBER_SIZE = 4
# Start of the kernel's log of a BTF (btf_verifier_log_hdr in kernel/bpf/btf.c).
_BTF_LOG = b"magic: 0x"


def loader_failure(image: Image, request: Request, result: Result, run: Run) -> ReplayError:
    """The error of a loader that failed; `run` runs it again, for the log."""
    code = -result.value
    labels = image.labels()
    if not labels:
        return returned(code)
    status = result.blob[image.status : image.status + _NUMBER_SIZE]
    number = int.from_bytes(status, sys.byteorder)
    if number == context.NO_OP or number >= len(labels):
        return before_first(code)
    label = labels[number]
    log: tuple[str, ...] = ()
    if label.task is Task.PROG_LOAD:
        log = _log(image, request.only(label.name), run, is_btf=False)
    elif label.task is Task.BTF_LOAD:
        log = _log(image, request, run, is_btf=True)
    elif label.task in (Task.MAP_CREATE, Task.OUTER_MAP_CREATE):
        log = _map_text(image, number, result.blob, code)
    return failure(number, label, code, log)


def _map_text(image: Image, number: int, blob: bytes, code: int) -> tuple[str, ...]:
    from lskel.runtime.common_attr import map_text

    for call in image.places().calls if image.places is not None else ():
        if call.op == number:
            return map_text(bytearray(blob[call.offset : call.offset + call.size]), code)
    return ()


def _log(image: Image, request: Request, run: Run, *, is_btf: bool) -> tuple[str, ...]:
    """The kernel's log of the failed call, from a second run that loads nothing else.

    All calls of a loader share one buffer: it holds the log of the last call.
    """
    log = bytearray()
    for size in _LOG_SIZES:
        log = bytearray(size)
        try:
            result = run(image, request, log)
        except LskelError:
            return ()  # the first failure is the one to report
        if result.value == 0:  # it loads now: the cause is gone
            for fd in result.fds:
                fd.close()
            return ()
        if result.value != -errno.ENOSPC:
            break
    # If the kernel did not reach the program, the log is still that of the BTF.
    return split_log(log) if is_btf or not log.startswith(_BTF_LOG) else ()
