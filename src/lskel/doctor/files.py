"""Files and filesystems for loading and attaching."""

from __future__ import annotations

import errno
from functools import partial

from lskel.doctor.finding import Finding, Probe, no, unknown, yes
from lskel.doctor.sandbox import cgroup_root
from lskel.errors import LskelError
from lskel.runtime import kconfig
from lskel.runtime.attach.tracefs import ROOTS, read_tracefs
from lskel.runtime.bpffs import check_pin, is_on_bpffs
from lskel.runtime.collection import PIN_ROOT
from lskel.runtime.kallsyms import symbol_address
from lskel.runtime.permissions import why_refused
from lskel.runtime.pins import existing, pinnable
from lskel.runtime.syscall import KernelError

# kernel/kallsyms.c: kallsyms_show_value.
SEE_ADDRESSES = (
    "CAP_SYSLOG with kernel.kptr_restrict at most 1, or kernel.kptr_restrict=0 and "
    "kernel.perf_event_paranoid at most 1"
)
_CGROUP2 = "mount -t cgroup2 cgroup2 DIRECTORY"


def _bpffs(root: str) -> Finding:
    there, missing = existing(root)  # loading creates missing directories
    if is_on_bpffs(there):
        return yes(root)
    first = " (create the directory first)" if missing else ""
    return no(f"not mounted at {root}", f"mount -t bpf bpf {root}{first}")


def _pins(root: str) -> Finding:
    """Check the permissions only: a pin would stay if this process were killed."""
    there, _ = existing(root)
    check_pin(there)
    if pinnable(there):
        return yes()
    return no(f"{there} is not writable", "make it writable for this user, or mount another bpffs")


def _tracefs() -> Finding:
    try:
        read_tracefs("events/header_page", "event")
    except LskelError as error:
        return no(error.what, error.hint or f"mount -t tracefs tracefs {ROOTS[0]}")
    return yes()


def _kconfig() -> Finding:
    config = kconfig.this_machine().config
    if config.values is None:
        return no(
            f"neither {' nor '.join(config.looked_at)}",
            "set values with --kconfig, or build the kernel with CONFIG_IKCONFIG_PROC "
            "(modprobe configs)",
        )
    return yes(config.looked_at[0])


def _kallsyms() -> Finding:
    try:
        # The first function of most kernels, and one of every kernel.
        found = symbol_address("_text") or symbol_address("schedule")
    except KernelError as error:
        if error.errno == errno.EPERM:
            return no(error.what, SEE_ADDRESSES)
        return unknown(error.what, "mount -t proc proc /proc")
    return yes() if found else no("no functions listed", f"CONFIG_KALLSYMS; {why_refused()}")


def _cgroup2() -> Finding:
    root = cgroup_root()
    return yes(root) if root else no("not mounted", _CGROUP2)


def probes(pin_root: str = PIN_ROOT) -> tuple[Probe, ...]:
    """The probes, with `pin_root` as the directory for pins."""
    makes_pins = ("permission.maps", "files.bpffs")
    return (
        Probe("files.bpffs", "bpffs", partial(_bpffs, pin_root)),
        Probe("files.pins", "pins can be created", partial(_pins, pin_root), makes_pins),
        Probe("files.tracefs", "tracefs", _tracefs),
        Probe("files.kconfig", "kernel configuration", _kconfig),
        Probe("files.kallsyms", "addresses of kernel symbols", _kallsyms),
        Probe("files.cgroup2", "cgroup v2", _cgroup2),
    )
