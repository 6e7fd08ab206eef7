"""The error for a kernel that refuses a loader program."""

from __future__ import annotations

import errno
import os

from lskel.errors import NoPermission, ReplayError
from lskel.runtime.permissions import Capability, missing, read_situation, why_refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.syscall import BpfError

# Errnos for an unknown program type, flag, or field of an attr.
_TOO_OLD = (errno.EINVAL, errno.E2BIG)


def loader_refusal(needs: str, error: BpfError) -> ReplayError:
    """The error for a kernel that refuses the loader program; `needs` is the release it needs."""
    what = f"the kernel refuses the loader program: {error.what}"
    if error.errno == errno.EPERM:
        return NoPermission(what, errno=error.errno, hint=why_refused())
    hint = error.hint
    # The verifier reports a helper that this process may not use as unknown.
    if missing(read_situation(), Capability.BPF, Capability.PERFMON):
        hint = why_refused()
    elif error.errno in _TOO_OLD:
        hint = f"loader programs need Linux {needs}, this is {os.uname().release}"
    return ReplayError(what, errno=error.errno, hint=hint)
