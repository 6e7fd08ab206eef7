"""Who asks, and what that one may do."""

from __future__ import annotations

import errno
import os

from lskel.bpf.enums import Cmd, ProgType
from lskel.doctor import tiny
from lskel.doctor.apart import Killed, apart
from lskel.doctor.finding import NETWORK_RIGHTS, Finding, Probe, fact, no, refused, unknown, yes
from lskel.errors import LskelError
from lskel.runtime.files import read_text
from lskel.runtime.info import prog_info
from lskel.runtime.permissions import Capability, missing, read_situation, why_refused
from lskel.runtime.signals import uninterrupted
from lskel.runtime.syscall import BpfError

_RIGHTS = (Capability.BPF, Capability.PERFMON, Capability.NET_ADMIN)
_SECCOMP = {0: "none", 1: "strict", 2: "filter"}
# What a process may lock in memory that loads much; systemd gives its services 8 MiB.
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
    return no("in a user namespace of its own", why_refused(situation))


def _lockdown() -> Finding:
    level = read_situation().lockdown
    if level is None:
        return unknown(
            "securityfs is not mounted, or may not be read",
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
        return fact(f"not there: {error.strerror}")


def _maps() -> Finding:
    """Tried by a child process: a seccomp filter may kill it."""
    try:
        number = apart(_errno_of_map)
    except Killed as error:
        return no(error.what, error.hint)
    except LskelError as error:
        return unknown(f"it could not be tried: {error.what}", error.hint)
    if not number:
        return yes()
    if number == errno.ENOSYS:
        remedy = "the kernel must be built with CONFIG_BPF_SYSCALL"
    else:
        remedy = why_refused()
    return no(BpfError(Cmd.MAP_CREATE, number).what, remedy)


def _errno_of_map() -> int:
    try:
        tiny.array().close()
    except BpfError as error:
        return error.errno
    return 0


def _program(prog_type: ProgType) -> Finding:
    tiny.load_program(prog_type, tiny.returns(0)).close()
    return yes()


def _network_program() -> Finding:
    try:
        return _program(ProgType.SCHED_CLS)
    except LskelError as error:
        return refused(error, "CONFIG_NET", NETWORK_RIGHTS)


def _jit() -> Finding:
    with tiny.load_program(ProgType.SOCKET_FILTER, tiny.returns(0)) as program:
        if prog_info(program.fileno()).jited_len:
            return yes()
    return no("programs are interpreted", "sysctl -w net.core.bpf_jit_enable=1 (CONFIG_BPF_JIT)")


def _memlock() -> Finding:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    with uninterrupted():
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, hard))
        try:
            tiny.array().close()
        except BpfError as error:
            if error.errno != errno.EPERM:
                raise
        else:
            return yes("the kernel does not charge it for BPF")
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
    Probe("permission.maps", "bpf(2) makes maps", _maps),
    Probe(
        "permission.programs",
        "bpf(2) loads programs",
        lambda: _program(ProgType.SOCKET_FILTER),
        _CALL,
    ),
    Probe(
        "permission.tracing",
        "bpf(2) loads programs of tracing",
        lambda: _program(ProgType.RAW_TRACEPOINT),
        _CALL,
    ),
    Probe("permission.network", "bpf(2) loads programs of the network", _network_program, _CALL),
    Probe("permission.jit", "JIT compiles programs", _jit, ("permission.programs",)),
    Probe("permission.memlock", "memlock is no limit", _memlock, _CALL),
)
