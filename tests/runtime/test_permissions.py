"""Advice on refusals: what the situation is, and what it means."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lskel.runtime.permissions import (
    Capability,
    Situation,
    parse_lockdown,
    read_situation,
    why_refused,
)

ALL = (1 << 41) - 1
FREE = Situation(
    euid=0,
    capabilities=ALL,
    in_user_namespace=False,
    seccomp=0,
    unprivileged_bpf_disabled=2,
    lockdown="none",
)


def without(*capabilities: Capability) -> int:
    return ALL & ~sum(1 << capability for capability in capabilities)


BPF, PERFMON = Capability.BPF, Capability.PERFMON
SYS_ADMIN, NET_ADMIN = Capability.SYS_ADMIN, Capability.NET_ADMIN


@pytest.mark.parametrize(
    ("situation", "names", "cure"),
    [
        (
            FREE._replace(euid=1000, capabilities=0),
            "CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN (kernel.unprivileged_bpf_disabled is 2)",
            "run it as root",
        ),
        (
            FREE._replace(euid=1000, capabilities=0, unprivileged_bpf_disabled=0),
            "CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN:",
            "setcap",
        ),
        (FREE._replace(capabilities=0), "this process lacks CAP_BPF", "--cap-add"),
        (
            FREE._replace(euid=1000, capabilities=without(SYS_ADMIN, PERFMON)),
            "lacks CAP_PERFMON (",
            "run it as root",
        ),
        (FREE._replace(capabilities=without(NET_ADMIN)), "lacks CAP_NET_ADMIN", "grant it"),
        (FREE._replace(in_user_namespace=True), "user namespace", "run it outside"),
        (FREE._replace(lockdown="integrity"), "locked down (integrity)", "lockdown=none"),
        (FREE._replace(seccomp=2), "seccomp filter", "seccomp=unconfined"),
        (FREE._replace(lockdown=None), "may be locked down", "mount -t securityfs"),
        (FREE, "not locked down", "audit log"),
        # The first of several is what must be dealt with first.
        (
            FREE._replace(euid=1, capabilities=0, lockdown="integrity", seccomp=2),
            "lacks CAP_BPF",
            "run it as root",
        ),
        (FREE._replace(capabilities=0, in_user_namespace=True), "user namespace", "outside"),
        (FREE._replace(lockdown="confidentiality", seccomp=2), "(confidentiality)", "tracepoints"),
    ],
)
def test_advice(situation: Situation, names: str, cure: str) -> None:
    sentence = why_refused(situation)
    assert names in sentence
    assert cure in sentence
    assert "\n" not in sentence


def test_sys_admin_stands_for_what_was_split_from_it() -> None:
    old = FREE._replace(capabilities=without(BPF, PERFMON))
    assert why_refused(old) == why_refused(FREE)
    assert "CAP_NET_ADMIN" in why_refused(old._replace(capabilities=1 << SYS_ADMIN))


def test_levels_of_lockdown() -> None:
    assert parse_lockdown("[none] integrity confidentiality") == "none"
    assert parse_lockdown("none [integrity] confidentiality") == "integrity"
    assert parse_lockdown(None) is None


REPORT = """
import json
from lskel.bpf.enums import Cmd, MapType
from lskel.bpf.layouts import MAP_CREATE
from lskel.runtime.permissions import read_situation, why_refused
from lskel.runtime.syscall import BpfError, bpf, host_attr
attr = host_attr(
    MAP_CREATE, "max_entries", map_type=MapType.LRU_HASH, key_size=4, value_size=4, max_entries=1
)
try:
    bpf(Cmd.MAP_CREATE, attr)
    error = ""
except BpfError as refusal:
    error = str(refusal)
print(json.dumps([read_situation(), why_refused(), error]))
"""


def report(*wrapper: str) -> tuple[Situation, str, str]:
    """What a process started by `wrapper` sees, is told, and gets from bpf(2)."""
    try:
        result = subprocess.run(
            [*wrapper, sys.executable, "-c", REPORT], capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip(f"{wrapper[0]} is not installed")
    assert result.returncode == 0, result.stderr
    situation, advice, error = json.loads(result.stdout)
    return Situation(*situation), advice, error


@pytest.mark.kernel
def test_this_process() -> None:
    situation, _, error = report()
    assert situation == read_situation()
    assert not error
    assert not situation.in_user_namespace


@pytest.mark.kernel
def test_a_root_without_capabilities() -> None:
    situation, advice, error = report("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    assert situation.capabilities == 0
    assert "EPERM" in error
    assert "lacks CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN" in advice


@pytest.mark.kernel
def test_what_was_advised_helps() -> None:
    situation, advice, error = report(
        "setpriv", "--bounding-set=-all,+bpf,+perfmon,+net_admin", "--inh-caps=-all"
    )
    assert situation.capabilities == 1 << BPF | 1 << PERFMON | 1 << NET_ADMIN
    assert not error
    assert "lacks" not in advice


@pytest.mark.kernel
def test_a_user_namespace() -> None:
    situation, advice, error = report("unshare", "--user", "--map-root-user")
    assert situation.in_user_namespace
    assert situation.euid == 0
    assert situation.capabilities >> BPF & 1
    assert "EPERM" in error
    assert "user namespace" in advice
