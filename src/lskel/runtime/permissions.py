"""Likely causes of EPERM and EACCES, and remedies."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import IntEnum

from lskel.light_typing import NamedTuple
from lskel.runtime.files import read_text
from lskel.runtime.token import TokenRights, token_rights

# The uid_map of the initial user namespace.
_ALL_UIDS = ["0", "0", "4294967295"]
_SECCOMP_FILTER = 2


class Capability(IntEnum):
    """Capabilities that bpf(2) checks (uapi/linux/capability.h)."""

    NET_ADMIN = 12
    SYS_ADMIN = 21
    PERFMON = 38
    BPF = 39


class Situation(NamedTuple):
    """What a process may do. None if unreadable.

    `capabilities` is the effective set as a mask; `seccomp` 0 (none), 1 (strict), 2 (filter);
    `unprivileged_bpf_disabled` the sysctl; `lockdown` "none", "integrity" or "confidentiality".
    `token` is what the BPF token in use delegates, None if none is in use.
    """

    euid: int
    capabilities: int
    in_user_namespace: bool
    seccomp: int
    unprivileged_bpf_disabled: int | None
    lockdown: str | None
    token: TokenRights | None = None


def read_situation() -> Situation:
    """The situation of this process, from /proc and /sys."""
    status = dict(
        line.split(":", 1) for line in read_text("/proc/self/status").splitlines() if ":" in line
    )
    disabled = _read_if_possible("/proc/sys/kernel/unprivileged_bpf_disabled")
    return Situation(
        euid=os.geteuid(),
        capabilities=int(status["CapEff"], 16),
        in_user_namespace=_maps_some_uids_only(_read_if_possible("/proc/self/uid_map")),
        seccomp=int(status.get("Seccomp", "0")),
        unprivileged_bpf_disabled=None if disabled is None else int(disabled),
        lockdown=parse_lockdown(_read_if_possible("/sys/kernel/security/lockdown")),
        token=token_rights(),
    )


def why_refused(situation: Situation | None = None) -> str:
    """One sentence: why bpf(2) is not permitted, and what to do; by default for this process.

    The most likely cause: the kernel does not tell. For Linux 5.8 or newer (CAP_BPF).
    """
    situation = situation or read_situation()
    return next(filter(None, (rule(situation) for rule in _RULES)))


def parse_lockdown(text: str | None) -> str | None:
    """The level in brackets in "none [integrity] confidentiality"; None for None."""
    return None if text is None else text.partition("[")[2].partition("]")[0]


def _read_if_possible(path: str) -> str | None:
    try:
        return read_text(path)
    except OSError:
        return None


def _maps_some_uids_only(uid_map: str | None) -> bool:
    return uid_map is not None and uid_map.split() != _ALL_UIDS


def _user_namespace(situation: Situation) -> str:
    if not situation.in_user_namespace:
        return ""
    if situation.token is not None:
        lacking = str(situation.token.lacking())
        if lacking:
            return f"the BPF token lacks {lacking}, which loader programs need: mount it with these"
        return (
            f"the BPF token of this user namespace has {situation.token}: what it does not "
            "delegate, and what needs a capability that this process lacks there, is refused"
        )
    return (
        "this process is in a user namespace, whose capabilities bpf(2) accepts only with a BPF "
        "token (Linux 6.9): mount a bpffs there with delegate_cmds=... and name it with "
        "--token-path, in Python token_path=; or run it outside"
    )


def _no_capabilities(situation: Situation) -> str:
    lacks = missing(situation, Capability.BPF, Capability.PERFMON)
    if not lacks:
        return ""
    lacks += missing(situation, Capability.NET_ADMIN)
    names = ", ".join(f"CAP_{capability.name}" for capability in lacks)
    sysctl = situation.unprivileged_bpf_disabled
    closed = f" (kernel.unprivileged_bpf_disabled is {sysctl})" if sysctl else ""
    return f"this process lacks {names}{closed}: {how_to_grant(situation)}"


def how_to_grant(situation: Situation) -> str:
    """How a process gets missing capabilities."""
    if situation.euid == 0:
        return "root lacks them here; a container gets them with --cap-add"
    return "run it as root, or grant them with setcap or systemd's AmbientCapabilities="


def _locked_down(situation: Situation) -> str:
    if situation.lockdown in (None, "none"):
        return ""
    return (
        f"the kernel is locked down ({situation.lockdown}), which forbids some program types even "
        "to root: use tracepoints, or boot with lockdown=none (Secure Boot enables lockdown)"
    )


def _seccomp(situation: Situation) -> str:
    if situation.seccomp != _SECCOMP_FILTER:
        return ""
    return (
        "this process has a seccomp filter, which may forbid bpf(2) or perf_event_open(2): allow "
        "them in its profile, or run the container with --security-opt seccomp=unconfined"
    )


def _no_net_admin(situation: Situation) -> str:
    if not missing(situation, Capability.NET_ADMIN):
        return ""
    return "this process lacks CAP_NET_ADMIN, which networking programs need: grant it"


def _unknown(situation: Situation) -> str:
    if situation.lockdown is None:
        return (
            "this process has the capabilities, so the kernel may be locked down: to check, mount "
            "-t securityfs securityfs /sys/kernel/security and read lockdown there"
        )
    return (
        "this process has the capabilities and the kernel is not locked down: look for an LSM "
        "denial in the kernel log or the audit log"
    )


def missing(situation: Situation, *wanted: Capability) -> tuple[Capability, ...]:
    """The required capabilities that a process lacks. Linux 5.8."""

    # CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON, split off in 5.8.
    def has(capability: Capability) -> bool:
        return bool(situation.capabilities >> capability & 1)

    includes = (Capability.BPF, Capability.PERFMON)
    return tuple(
        capability
        for capability in wanted
        if not has(capability) and not (capability in includes and has(Capability.SYS_ADMIN))
    )


# Most likely first.
_RULES: tuple[Callable[[Situation], str], ...] = (
    _user_namespace,
    _no_capabilities,
    _locked_down,
    _seccomp,
    _no_net_admin,
    _unknown,
)
