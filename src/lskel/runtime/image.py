"""A loader program with its data, and how to run it for a request."""

from __future__ import annotations

import errno
import sys

from lskel.bpf import context
from lskel.bpf.enums import Cmd
from lskel.errors import UsageError
from lskel.light_typing import NamedTuple
from lskel.runtime.loader import run_loader
from lskel.runtime.request import build_context, by_slot, expected_fds
from lskel.runtime.syscall import BpfError, address_of
from lskel.runtime.token_fields import scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from lskel.cursor import ByteOrder
    from lskel.runtime.inputs import Inputs
    from lskel.runtime.loader import Result
    from lskel.runtime.places import Places
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
    its functions if it has several; `blob` is the value of its map, in which `places` has the attrs
    of its calls; None if they are not known. `needs` is the first Linux release that runs it.
    Without `insns` something else makes the calls.
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
    places: Callable[[], Places] | None = None

    def object_btf(self) -> bytes:
        """The object's BTF; empty if it has none, or if its place is not known."""
        offset, size = self.places().btf if self.places is not None else (0, 0)
        return self.blob[offset : offset + size]

    def settled(self, request: Request, address_of: Callable[[bytes | bytearray], int]) -> bytes:
        """The blob for a request, as `with_settings`, and with the BPF token in use.

        UsageError if it is not known where they go.
        """
        if not request.has_settings and not scope.token:
            return self.blob
        if self.places is None:
            raise UsageError(
                "settings other than sizes, values and autoload, and BPF tokens, are refused: the "
                "bytes do not match the description",
                hint="generate it from the object",
            )
        from lskel.runtime.patch import with_settings
        from lskel.runtime.token import with_token

        blob = with_settings(self.blob, self.places(), request, self.order, address_of)
        return with_token(blob, self.places().calls)

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
    # Context and blob have pointers to values in the request, which keeps them alive.
    ctx = build_context(request, sys.byteorder, address_of)
    if log is not None:
        level = max((program.log_level for program in request.programs), default=0)
        for offset, value, size in (
            (context.LOG_LEVEL, level or _LOG_LEVEL, 4),
            (context.LOG_SIZE, len(log), 4),
            (context.LOG_BUF, address_of(log), 8),
        ):
            ctx[offset : offset + size] = value.to_bytes(size, sys.byteorder)
    expected = list(expected_fds(request))
    blob = image.settled(request, address_of)
    return run_loader(image.insns, blob, ctx, image.btf, image.func_info, expected)
