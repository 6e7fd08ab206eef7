"""Creating a map without a loader: arenas, resized sections, and inner maps at run time."""

from __future__ import annotations

import errno

from lskel.bpf.attr import object_name
from lskel.bpf.enums import Cmd
from lskel.bpf.layouts import MAP_CREATE
from lskel.errors import NoPermission, ReplayError
from lskel.runtime.permissions import why_refused
from lskel.runtime.syscall import BpfError, host_attr
from lskel.tasks import Label, Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lskel.runtime.kernel import Kernel
    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.objects import Fd

_NO_HINTS: Mapping[int, str] = {}


def created(
    kernel: Kernel,
    wanted: MapDefinition,
    *,
    btf_fd: int = 0,
    key_type: int = 0,
    value_type: int = 0,
) -> Fd:
    """Create a map, with types in the BTF of `btf_fd`, if any; BpfError if the kernel refuses."""
    attr = host_attr(
        MAP_CREATE,
        "map_extra",
        map_type=wanted.type,
        key_size=wanted.key_size,
        value_size=wanted.value_size,
        max_entries=wanted.max_entries,
        map_flags=wanted.flags,
        numa_node=wanted.numa_node,
        map_name=object_name(wanted.name),
        btf_fd=btf_fd,
        btf_key_type_id=key_type,
        btf_value_type_id=value_type,
        map_extra=wanted.map_extra,
    )
    return kernel.create(Cmd.MAP_CREATE, attr)


def create_map(
    kernel: Kernel,
    wanted: MapDefinition,
    hints: Mapping[int, str] = _NO_HINTS,
    *,
    btf_fd: int = 0,
    value_type: int = 0,
) -> Fd:
    """Create a map as a loader does; the type of its value is `value_type`, as for `created`.

    ReplayError or NoPermission if the kernel refuses; `hints` are by errno.
    """
    try:
        return created(kernel, wanted, btf_fd=btf_fd, value_type=value_type)
    except BpfError as error:
        label = Label(Task.MAP_CREATE, wanted.name)
        what = f"{label}: {error.why}"
        if error.errno == errno.EPERM:
            raise NoPermission(what, errno=errno.EPERM, hint=why_refused()) from error
        hint = hints.get(error.errno, "")
        raise ReplayError(what, errno=error.errno, label=label, why=error.why, hint=hint) from error
