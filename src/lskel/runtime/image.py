"""A loader program with its data, and how to run it for a request."""

from __future__ import annotations

import errno
import sys

from lskel.bpf import context
from lskel.bpf.enums import Cmd
from lskel.light_typing import NamedTuple
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

    # Runs a loader for a request, optionally with a buffer for the kernel's log.
    Run: TypeAlias = Callable[["Image", Request, bytearray | None], Result]


# The verifier writes a readable log at this level.
_LOG_LEVEL = 1


class Image(NamedTuple):
    """A loader program, its data, and what it does.

    `labels` describe its operations; the 32-bit number at `status` in the blob is the one that
    failed. `inputs` are the numbers known on the target only; `links` are the programs that the
    loader attaches itself. `insns` are the program's instructions; `btf` and `func_info` describe
    its functions if it has several; `blob` is the value of its map. `needs` is the first Linux
    release that runs it. Without `insns` something else makes the calls.
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
        """Run the loader once: in the running kernel, or by `run`.

        ReplayError names the operation that the kernel refused, with the verifier log; everything
        is closed then. NoPermission, BadInput as `run_image`.
        """
        try:
            return run_image(self, request, run)
        except BpfError as error:
            from lskel.runtime.loader_refusal import loader_refusal

            raise loader_refusal(self.needs, error) from error


def is_unknown_form(error: BpfError) -> bool:
    """Whether a kernel refuses a loader because it does not know something that the loader uses."""
    return error.cmd == Cmd.PROG_LOAD and error.errno == errno.EINVAL


def run_image(image: Image, request: Request, run: Run | None = None) -> LoadedFds:
    """Run a loader, as `Image.load`; BpfError if the kernel refuses the loader itself.

    BadInput if it returns other fds than requested.
    """
    run = run or _run
    result = run(image, request, None)
    if result.value:
        from lskel.runtime.loader_failure import loader_failure

        raise loader_failure(image, request, result, run)
    return by_slot(request, result.fds)


def _run(image: Image, request: Request, log: bytearray | None) -> Result:
    """Run a loader in the running kernel; `log` receives the kernel's log of the last call."""
    # The context has pointers to values in the request, which keeps them alive.
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
