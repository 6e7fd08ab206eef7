"""The user of this process and its permissions."""

from __future__ import annotations

import errno
import os

from lskel.bpf.enums import Cmd, ProgType
from lskel.doctor import bpf_objects
from lskel.doctor.child import Killed, in_child
from lskel.doctor.finding import NETWORK_RIGHTS, Finding, Probe, fact, no, refused, unknown, yes
from lskel.errors import LskelError
from lskel.runtime.files import read_text
from lskel.runtime.info import prog_info
from lskel.runtime.permissions import Capability, missing, read_situation, why_refused
from lskel.runtime.signals import uninterrupted
from lskel.runtime.syscall import BpfError

_RIGHTS = (Capability.BPF, Capability.PERFMON, Capability.NET_ADMIN)
_SECCOMP = {0: "none", 1: "strict", 2: "filter"}
# Enough locked memory for large objects; the default for systemd services is 8 MiB.
_ENOUGH = 64 << 20


def _capabilities() -> Finding:
    situation = read_situation()
    lacks = missing(situation, *_RIGHTS)
    has = ", ".join(f"CAP_{right.name}" for right in _RIGHTS if right not in lacks) or "none"
    return no(f"has {has}", why_refused(situation)) if lacks else yes(has)


def _user_namespace() -> Finding:
    situation = read_situation()
    if not situation.in_user_namespace:
        return yes()
    if situation.token is not None:
        return yes(f"no, but with a BPF token: {situation.token}")
    return no("not in the initial user namespace", why_refused(situation))


def _lockdown() -> Finding:
    level = read_situation().lockdown
    if level is None:
        return unknown(
            "securityfs is not mounted or not readable",
            "mount -t securityfs securityfs /sys/kernel/security",
        )
    if level == "none":
        return yes(level)
    remedy = "boot with lockdown=none (Secure Boot turns it on), or use tracepoints"
    return no(level, remedy)


def _sysctl(path: str) -> Finding:
    try:
        return fact(read_text(f"/proc/sys/{path}"))
    except OSError as error:
        return fact(f"not available: {error.strerror}")


def _maps() -> Finding:
    """Test in a child process: a seccomp filter may kill it."""
    try:
        number = in_child(_errno_of_map)
    except Killed as error:
        return no(error.what, error.hint)
    except LskelError as error:
        return unknown(f"not tried: {error.what}", error.hint)
    if not number:
        return yes()
    lacks_bpf = number == errno.ENOSYS
    remedy = "build the kernel with CONFIG_BPF_SYSCALL" if lacks_bpf else why_refused()
    return no(BpfError(Cmd.MAP_CREATE, number).what, remedy)


def _errno_of_map() -> int:
    try:
        bpf_objects.array().close()
    except BpfError as error:
        return error.errno
    return 0


def _program(prog_type: ProgType) -> Finding:
    bpf_objects.load_program(prog_type, bpf_objects.returns(0)).close()
    return yes()


def _network_program() -> Finding:
    try:
        return _program(ProgType.SCHED_CLS)
    except LskelError as error:
        return refused(error, "CONFIG_NET", NETWORK_RIGHTS)


def _jit() -> Finding:
    with bpf_objects.load_program(ProgType.SOCKET_FILTER, bpf_objects.returns(0)) as program:
        if prog_info(program.fileno()).jited_len:
            return yes()
    return no("programs are interpreted", "sysctl -w net.core.bpf_jit_enable=1 (CONFIG_BPF_JIT)")


def _memlock() -> Finding:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    with uninterrupted():
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, hard))
        try:
            bpf_objects.array().close()
        except BpfError as error:
            if error.errno != errno.EPERM:
                raise
        else:
            return yes("not charged for BPF")
        finally:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))
    if soft in (resource.RLIM_INFINITY, -1) or soft >= _ENOUGH:
        return yes(_limit(soft))
    return no(_limit(soft), "ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit")


def _limit(limit: int) -> str:
    return "unlimited" if limit < 0 else f"{limit >> 10} KiB"


_CALL = ("permission.maps",)

PROBES = (
    Probe("permission.euid", "effective user", lambda: fact(str(os.geteuid()))),
    Probe("permission.capabilities", "capabilities", _capabilities),
    Probe("permission.user_namespace", "initial user namespace", _user_namespace),
    Probe(
        "permission.seccomp",
        "seccomp",
        lambda: fact(_SECCOMP.get(read_situation().seccomp, "unknown")),
    ),
    Probe("permission.lockdown", "lockdown", _lockdown),
    Probe(
        "permission.unprivileged_bpf_disabled",
        "kernel.unprivileged_bpf_disabled",
        lambda: _sysctl("kernel/unprivileged_bpf_disabled"),
    ),
    Probe(
        "permission.kptr_restrict",
        "kernel.kptr_restrict",
        lambda: _sysctl("kernel/kptr_restrict"),
    ),
    Probe(
        "permission.perf_event_paranoid",
        "kernel.perf_event_paranoid",
        lambda: _sysctl("kernel/perf_event_paranoid"),
    ),
    Probe("permission.maps", "bpf(2) creates maps", _maps),
    Probe(
        "permission.programs",
        "bpf(2) loads programs",
        lambda: _program(ProgType.SOCKET_FILTER),
        _CALL,
    ),
    Probe(
        "permission.tracing",
        "bpf(2) loads tracing programs",
        lambda: _program(ProgType.RAW_TRACEPOINT),
        _CALL,
    ),
    Probe("permission.network", "bpf(2) loads network programs", _network_program, _CALL),
    Probe("permission.jit", "JIT compiles programs", _jit, ("permission.programs",)),
    Probe("permission.memlock", "memlock does not limit BPF", _memlock, _CALL),
)
