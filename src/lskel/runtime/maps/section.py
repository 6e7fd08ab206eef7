"""Creating the map of a section of variables whose size was set."""

from __future__ import annotations

from lskel.bpf.enums import Cmd
from lskel.bpf.flags import MapFlag
from lskel.bpf.layouts import BTF_LOAD
from lskel.runtime.kernel import bpf_of
from lskel.runtime.maps.create import create_map
from lskel.runtime.one_element import freeze, update
from lskel.runtime.syscall import BpfError, address_of, host_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.kernel import Kernel
    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.objects import Fd

_KEY = bytes(4)


def create_section(
    kernel: Kernel, wanted: MapDefinition, value: bytes, btf: bytes, value_type: int
) -> Fd:
    """The map with its value, frozen if it is constant; its type is in `btf`, if that is not empty.

    As a loader does it: without BTF if the kernel refuses that. ReplayError or NoPermission.
    """
    types = _load_btf(kernel, btf) if btf else None
    if types is None:
        made = create_map(kernel, wanted)
    else:
        with types:
            made = create_map(kernel, wanted, btf_fd=types.fileno(), value_type=value_type)
    try:
        bpf = bpf_of(kernel)
        if any(value):
            update(made.fileno(), _KEY, value, bpf=bpf)
        if wanted.flags & MapFlag.RDONLY_PROG:
            freeze(made.fileno(), bpf=bpf)
    except BaseException:
        made.close()
        raise
    return made


def _load_btf(kernel: Kernel, btf: bytes) -> Fd | None:
    attr = host_attr(BTF_LOAD, "btf_log_level", btf=address_of(btf), btf_size=len(btf))
    try:
        return kernel.create(Cmd.BTF_LOAD, attr)
    except BpfError:
        return None  # whether the object needs its BTF is for the loader to find out
