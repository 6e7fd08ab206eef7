"""What the kernel itself says of a call that it refuses: the common attributes of bpf(2).

A fourth argument, struct bpf_common_attr, has a buffer for text (Linux 7.3). BPF_MAP_CREATE has no
log of its own. The helper bpf_sys_bpf takes no such argument, so the call of a loader program is
repeated by this process.
"""

from __future__ import annotations

import sys

from lskel.bpf.attr import load, store
from lskel.bpf.enums import Cmd
from lskel.bpf.flags import MapFlag
from lskel.bpf.layouts import COMMON_ATTR, MAP_CREATE
from lskel.runtime.failure import split_log
from lskel.runtime.machine import this_machine
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import address_of, host_attr, syscall
from lskel.runtime.token_fields import add_token

_LOG_LEVEL = 1
_LOG_SIZE = 1 << 12
# fds that are closed when a loader has failed; of BTF, the kernel says nothing here anyway.
_BTF = ("btf_fd", "btf_key_type_id", "btf_value_type_id")


def kernel_text(cmd: int, attr: bytearray, code: int) -> tuple[str, ...]:
    """The lines that the kernel writes if a call that failed with errno `code` is repeated.

    None if it knows no common attributes, has nothing to say, or now fails in another way.
    """
    add_token(attr, cmd)
    log = bytearray(_LOG_SIZE)
    common = host_attr(
        COMMON_ATTR,
        "log_true_size",
        log_buf=address_of(log),
        log_size=len(log),
        log_level=_LOG_LEVEL,
    )
    arguments = (address_of(attr), len(attr), address_of(common), len(common))
    result = syscall(this_machine().bpf, cmd | Cmd.COMMON_ATTRS, *arguments)
    if result >= 0:
        Fd(result).close()
    return split_log(log) if result == -code else ()


def map_text(attr: bytearray, code: int) -> tuple[str, ...]:
    """The lines about a map that a loader program could not create; the loader has failed since."""
    flags = load(attr, MAP_CREATE, "map_flags", sys.byteorder)
    if load(attr, MAP_CREATE, "inner_map_fd", sys.byteorder) or flags & MapFlag.VTYPE_BTF_OBJ_FD:
        return ()  # they were closed with the loader
    for field in _BTF:
        store(attr, MAP_CREATE, field, 0, sys.byteorder)
    return kernel_text(Cmd.MAP_CREATE, attr, code)
