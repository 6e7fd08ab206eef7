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
    from collections.abc import Callable
    from typing import TypeAlias

    from lskel.cursor import ByteOrder
    from lskel.runtime.inputs import Inputs
    from lskel.runtime.loader import Result
    from lskel.runtime.request import LoadedFds, Request
    from lskel.tasks import Label

    # Runs a loader for a request, with a buffer for the kernel's log where there is one.
    Run: TypeAlias = Callable[["Image", Request, bytearray | None], Result]


# The verifier says something for people at this level.
_LOG_LEVEL = 1


class Image(NamedTuple):
    """A loader program, its data, and what it does.

    `labels` tells what its operations are; the blob's 32-bit number at `status` says which one
    failed. `inputs` are the numbers that only the target knows; `links` name the programs that the
    loader attaches itself. `insns` are the program's instructions, `btf` and `func_info` describe
    its functions where it has several; `blob` is the value of its map. `needs` is the release of
    Linux that runs it. Without `insns` something else makes the calls.
    """

    name: str
    order: ByteOrder
    labels: Callable[[], tuple[Label, ...]]
    inputs: Inputs | None = None
    links: tuple[str, ...] = ()
    insns: bytes = b""
    blob: bytes = b""
    btf: bytes = b""
    func_info: bytes = b""
    status: int = 0
    needs: str = ""

    def load(self, request: Request, run: Run | None = None) -> LoadedFds:
        """Run the loader once: in the running kernel, or as `run` does.

        ReplayError names the operation that the kernel refused, with the verifier's log; all that
        was made is closed then. NoPermission, BadInput as `run_image`.
        """
        try:
            return run_image(self, request, run)
        except BpfError as error:
            from lskel.runtime.refused import loader_refused

            raise loader_refused(self.needs, error) from error


def is_unknown_form(error: BpfError) -> bool:
    """Whether a kernel refuses a loader as one does that does not know what it is made of."""
    return error.cmd == Cmd.PROG_LOAD and error.errno == errno.EINVAL


def run_image(image: Image, request: Request, run: Run | None = None) -> LoadedFds:
    """Run a loader, as `Image.load`; BpfError where the kernel refuses the loader itself.

    BadInput where it hands back other fds than those of the request.
    """
    run = run or _run
    result = run(image, request, None)
    if result.value:
        from lskel.runtime.loader_failure import loader_failure

        raise loader_failure(image, request, result, run)
    return by_slot(request, result.fds)


def _run(image: Image, request: Request, log: bytearray | None) -> Result:
    """Run a loader in the running kernel; `log` gets the kernel's log of the last call."""
    # The context holds the addresses of values in the request, which keeps them.
    ctx = build_context(request, sys.byteorder, address_of)
    if log is not None:
        for offset, value, size in (
            (context.LOG_LEVEL, _LOG_LEVEL, 4),
            (context.LOG_SIZE, len(log), 4),
            (context.LOG_BUF, address_of(log), 8),
        ):
            ctx[offset : offset + size] = value.to_bytes(size, sys.byteorder)
    expected = list(expected_fds(request))
    return run_loader(image.insns, image.blob, ctx, image.btf, image.func_info, expected)
