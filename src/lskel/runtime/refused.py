"""The error for a kernel that does not take a loader program."""

from __future__ import annotations

import errno
import os

from lskel.errors import NoPermission, ReplayError
from lskel.runtime.permissions import Capability, missing, read_situation, why_refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.syscall import BpfError

# What a kernel says to a program type, a flag, or a field of an attr that it does not know.
_TOO_OLD = (errno.EINVAL, errno.E2BIG)


def loader_refused(needs: str, error: BpfError) -> ReplayError:
    """The error for a kernel that does not take the loader program, which `needs` a release."""
    what = f"the kernel refuses the loader program: {error.what}"
    if error.errno == errno.EPERM:
        return NoPermission(what, errno=error.errno, hint=why_refused())
    hint = error.hint
    # To the verifier a helper is unknown that this process may not use.
    if missing(read_situation(), Capability.BPF, Capability.PERFMON):
        hint = why_refused()
    elif error.errno in _TOO_OLD:
        hint = f"loader programs need Linux {needs}, this is {os.uname().release}"
    return ReplayError(what, errno=error.errno, hint=hint)
