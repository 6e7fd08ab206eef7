"""Replay in the running kernel by the loader program, in a form that the kernel supports."""

from __future__ import annotations

from lskel.errors import NoPermission
from lskel.loader.model import Bytes, Form, Loader
from lskel.loader.verify import in_form
from lskel.replay.trust import check_request
from lskel.runtime.image import Image, is_unknown_form, run_image
from lskel.runtime.kernel import RunningKernel
from lskel.runtime.request import LoadedFds, Request
from lskel.runtime.syscall import BpfError
from lskel.skeleton.dynamic import with_loader

_DIRECTLY = "; or try --replay direct, in Python direct=True"
_NO_OTHER_FORM = "; not unrolled: the bytes do not match the description"


class LoaderKernel(RunningKernel):
    """Runs a loader; unrolls a table loader if the kernel lacks bpf_loop.

    `loader` is the loader that ran. Bytes that do not match their trace run only with
    `trust_bytes`, and unchanged.
    """

    def __init__(self, loader: Loader, *, trust_bytes: bool = False) -> None:
        self.loader = loader
        self._trust_bytes = trust_bytes

    def load(self, image: Image, request: Request) -> LoadedFds:
        """Run the loader once; errors as for `Image.load`."""
        loader = self.loader
        if not self._trust_bytes:
            check_request(loader, request)
        try:
            return run_image(image, request)
        except BpfError as error:
            is_same = loader.compared is Bytes.SAME
            if is_same and loader.form is Form.TABLE and is_unknown_form(error):
                self.loader = in_form(loader, Form.UNROLLED)
                return self.load(with_loader(image, self.loader), request)
            from lskel.runtime.loader_refusal import loader_refusal

            refused = loader_refusal(image.needs, error)
            if not isinstance(refused, NoPermission) and refused.hint != error.hint:
                refused.hint += _DIRECTLY if is_same else _NO_OTHER_FORM
            raise refused from error
