"""A loader program with its data, and running it for a request."""

from __future__ import annotations

import errno
import sys

from lskel.bpf import context
from lskel.bpf.enums import Cmd
from lskel.named import NamedTuple
from lskel.runtime.loader import run_loader
from lskel.runtime.request import build_context, by_slot, expected_fds
from lskel.runtime.syscall import BpfError, address_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.cursor import ByteOrder
    from lskel.errors import ReplayError
    from lskel.runtime.inputs import Inputs
    from lskel.runtime.loader import Result
    from lskel.runtime.request import LoadedFds, Request
    from lskel.tasks import Label

# The sizes of the buffer for a log, until it fits: the last is the most that old kernels take.
_LOG_SIZES = (1 << 20, (1 << 24) - 1)
# The verifier says something for people at this level.
_LOG_LEVEL = 1
_NUMBER_SIZE = 4
# How the kernel's log of a BTF begins (btf_verifier_log_hdr in kernel/bpf/btf.c).
_BTF_LOG = b"magic: 0x"


class Image(NamedTuple):
    """A loader program, its data, and what it does.

    `labels` say what its operations are; the blob's 32-bit number at `status` says which one
    failed. `inputs` are the numbers that only the target knows; `links` name the programs that the
    loader attaches itself. `insns` are the program's instructions, `btf` and `func_info` describe
    its functions where it has several; `blob` is the value of its map. `needs` is the release of
    Linux that runs it. Without `insns` something else makes the calls.
    """

    name: str
    order: ByteOrder
    labels: tuple[Label, ...]
    inputs: Inputs | None = None
    links: tuple[str, ...] = ()
    insns: bytes = b""
    blob: bytes = b""
    btf: bytes = b""
    func_info: bytes = b""
    status: int = 0
    needs: str = ""

    def load(self, request: Request) -> LoadedFds:
        """Run the loader once.

        ReplayError names the operation that the kernel refused, with the verifier's log; all that
        was made is closed then. NoPermission, BadInput as `run_image`.
        """
        try:
            return run_image(self, request)
        except BpfError as error:
            from lskel.runtime.refused import loader_refused

            raise loader_refused(self.needs, error) from error


def is_unknown_form(error: BpfError) -> bool:
    """Whether a kernel refuses a loader as one does that does not know what it is made of."""
    return error.cmd == Cmd.PROG_LOAD and error.errno == errno.EINVAL


def run_image(image: Image, request: Request) -> LoadedFds:
    """Run a loader, as `Image.load`; BpfError where the kernel refuses the loader itself.

    BadInput where it hands back other fds than those of the request.
    """
    # The context holds the addresses of values in the request, which keeps them.
    ctx = build_context(request, sys.byteorder, address_of)
    result = _run(image, ctx, request)
    if result.value:
        raise _failure(image, request, result)
    return by_slot(request, result.fds)


def _run(image: Image, ctx: bytearray, request: Request) -> Result:
    expected = list(expected_fds(request))
    return run_loader(image.insns, image.blob, ctx, image.btf, image.func_info, expected)


def _failure(image: Image, request: Request, result: Result) -> ReplayError:
    from lskel.runtime.failure import before_first, failure, returned
    from lskel.tasks import Task

    code = -result.value
    if not image.labels:
        return returned(code)
    status = result.blob[image.status : image.status + _NUMBER_SIZE]
    number = int.from_bytes(status, sys.byteorder)
    if number == context.NO_OP or number >= len(image.labels):
        return before_first(code)
    label = image.labels[number]
    log: tuple[str, ...] = ()
    if label.task is Task.PROG_LOAD:
        log = _log(image, request.only(label.name), is_btf=False)
    elif label.task is Task.BTF_LOAD:
        log = _log(image, request, is_btf=True)
    return failure(number, label, code, log)


def _log(image: Image, request: Request, *, is_btf: bool) -> tuple[str, ...]:
    """The kernel's log of a call that fails, by a second run that loads nothing else.

    All calls of a loader share one buffer: it holds the log of the last one.
    """
    from lskel.runtime.failure import split_log

    log = bytearray()
    for size in _LOG_SIZES:
        ctx = build_context(request, sys.byteorder, address_of)
        log = bytearray(size)
        for offset, value, width in (
            (context.LOG_LEVEL, _LOG_LEVEL, 4),
            (context.LOG_SIZE, len(log), 4),
            (context.LOG_BUF, address_of(log), 8),
        ):
            ctx[offset : offset + width] = value.to_bytes(width, sys.byteorder)
        result = _run(image, ctx, request)
        if result.value == 0:  # it loads now: what stood in the way has gone
            for fd in result.fds:
                fd.close()
            return ()
        if result.value != -errno.ENOSPC:
            break
    # Where the kernel did not get as far as the program, the log is still that of the BTF.
    return split_log(log) if is_btf or not log.startswith(_BTF_LOG) else ()
