"""The table of section names: against libbpf itself, and how names are read."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from lskel.bpf.enums import AttachType, ProgType
from lskel.btf.kinds import Kind
from lskel.catalog.attach_kinds import ATTACH_KINDS, AttachKindRow, BtfTarget
from lskel.object.sections import SectionSpec, parse_section
from tests.conftest import lacking

# What libbpf 1.8 knows and libbpf 1.6 does not.
NEWEST = frozenset(
    {
        *("fsession", "fsession.s", "fsession.multi", "fsession.multi.s"),
        *("fentry.multi", "fentry.multi.s", "fexit.multi", "fexit.multi.s"),
        *("tracepoint.s", "tp.s", "raw_tracepoint.s", "raw_tp.s", "tp_btf.s"),
    }
)
# What libbpf 1.1 does not know yet and libbpf 1.6 does, or 1.8.
NEWER = NEWEST | frozenset(
    {
        "kprobe.session",
        "uprobe.multi",
        "uprobe.multi.s",
        "uretprobe.multi",
        "uretprobe.multi.s",
        "uprobe.session",
        "uprobe.session.s",
        "usdt.s",
        "struct_ops.s",
        "tc/ingress",
        "tc/egress",
        "tcx/ingress",
        "tcx/egress",
        "netkit/primary",
        "netkit/peer",
        "netfilter",
        "sk_skb/verdict",
        "cgroup/connect_unix",
        "cgroup/sendmsg_unix",
        "cgroup/recvmsg_unix",
        "cgroup/getpeername_unix",
        "cgroup/getsockname_unix",
    }
)
BEFORE, AFTER, LAST = (1, 1), (1, 6), (1, 8)

# Names that libbpf rejects, each beside a row that it accepts.
NO_SUCH_NAMES = (
    "",
    "xdp2",
    "xdp/",
    "xdp/eth0",
    "xdp.frags/",
    "kprobeX",
    "kprobe.s/f",
    "kprobe.",
    "kprobe.multi.s/f",
    "tracepoints/sched/sched_switch",
    "raw_tp.x/sys_enter",
    "tp_btf.x/sys_enter",
    "fentry.multi.x/f",
    "fentry.x/f",
    "fentry.s.s/f",
    "freplace.s/f",
    "lsm_cgroup.s/f",
    "socket1",
    "socket/x",
    "tc/",
    "tc/x",
    "classifier/x",
    "syscall/x",
    "sk_reuseport/x",
    "sk_skb/x",
    "cgroup",
    "cgroup/",
    "cgroup/bind",
    "cgroup/bind4/x",
    "cgroup_skb",
    "cgroup_skb/ingress/x",
    "struct_opsx",
    ".text",
    " kprobe/f",
    "KPROBE/f",
)

PRINT_FN = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class LibBpf:
    """What a libbpf says about section names."""

    def __init__(self, path: str) -> None:
        self.lib = ctypes.CDLL(path)
        self.version = (self.lib.libbpf_major_version(), self.lib.libbpf_minor_version())

    def types(self, name: str) -> tuple[int, int] | None:
        """Program type and expected attach type, or None where libbpf does not know the name."""
        prog_type, attach_type = ctypes.c_int(-1), ctypes.c_int(-1)
        error = self.lib.libbpf_prog_type_by_name(
            name.encode(), ctypes.byref(prog_type), ctypes.byref(attach_type)
        )
        return None if error else (prog_type.value, attach_type.value)

    def names(self) -> frozenset[str]:
        """All names of its table, as it logs them for a wrong one: those with '+' take a target."""
        libc = ctypes.CDLL(None)
        messages = []

        def log(_level: int, form: bytes, arguments: int) -> int:
            text = ctypes.create_string_buffer(1 << 16)
            libc.vsnprintf(text, len(text), form, ctypes.c_void_p(arguments))
            messages.append(text.value.decode())
            return 0

        callback = PRINT_FN(log)
        self.lib.libbpf_set_print.restype = ctypes.c_void_p
        before = self.lib.libbpf_set_print(callback)
        try:
            assert self.types("no such name") is None
        finally:
            self.lib.libbpf_set_print(ctypes.c_void_p(before))
        (listing,) = (text for text in messages if "supported section(type) names are:" in text)
        return frozenset(listing.partition("names are:")[2].split())


@pytest.fixture(
    scope="module",
    params=["libbpf.so.1", *filter(None, os.environ.get("LSKEL_LIBBPF", "").split(":"))],
    ids=lambda path: Path(path).name,
)
def libbpf(request: pytest.FixtureRequest) -> LibBpf:
    """The system's libbpf, and those whose paths LSKEL_LIBBPF lists (separated by colons)."""
    try:
        return LibBpf(request.param)
    except OSError as error:
        lacking(str(error))


def lacking_names(libbpf: LibBpf) -> frozenset[str]:
    """The names that so old a libbpf may not know."""
    if libbpf.version < AFTER:
        return NEWER
    return NEWEST if libbpf.version < LAST else frozenset()


def given(spec: SectionSpec) -> tuple[int, int] | None:
    """The answer of `parse_section` in the terms of `LibBpf.types`."""
    return (int(spec.prog_type), int(spec.attach_type or 0)) if spec.kind else None


def test_rows_are_unique() -> None:
    names = [kind.name for kind in ATTACH_KINDS]
    assert len(names) == len(set(names))
    # A slash in the name of a row with a target would make the order of the rows matter.
    assert not [k.name for k in ATTACH_KINDS if k.takes_target and "/" in k.name]
    assert set(names) >= NEWER


@pytest.mark.parametrize("kind", ATTACH_KINDS, ids=lambda kind: kind.name)
def test_row_is_libbpfs(libbpf: LibBpf, kind: AttachKindRow) -> None:
    theirs = libbpf.types(kind.name)
    if theirs is None:
        assert kind.name in lacking_names(libbpf)
        return
    assert kind.name not in NEWER or libbpf.version > BEFORE
    assert theirs == given(parse_section(kind.name))
    assert libbpf.types(f"{kind.name}X") is None
    assert (libbpf.types(f"{kind.name}/x:y/z") is not None) == kind.takes_target
    assert (libbpf.types(f"{kind.name}/") is not None) == kind.takes_target


def test_table_is_complete(libbpf: LibBpf) -> None:
    ours = {kind.name + "+" * kind.takes_target for kind in ATTACH_KINDS}
    newer = ours - libbpf.names()
    assert libbpf.names() <= ours
    assert {name.rstrip("+") for name in newer} <= lacking_names(libbpf)


@pytest.mark.parametrize("name", NO_SUCH_NAMES)
def test_no_such_name(libbpf: LibBpf, name: str) -> None:
    assert libbpf.types(name) is None
    spec = parse_section(name)
    assert spec == SectionSpec(
        name=name,
        autoload=True,
        kind="",
        prog_type=ProgType.UNSPEC,
        attach_type=None,
        sleepable=False,
        xdp_frags=False,
        target="",
        btf_target=None,
    )


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("raw_tp/sys_enter", "raw_tp", "sys_enter"),
        ("raw_tp", "raw_tp", ""),
        ("tp_btf/", "tp_btf", ""),
        ("tp/sched/sched_switch", "tp", "sched/sched_switch"),
        ("kprobe/do_exit+0x10", "kprobe", "do_exit+0x10"),
        ("kprobe.multi/tcp_*", "kprobe.multi", "tcp_*"),
        ("uprobe//usr/bin/sh:main", "uprobe", "/usr/bin/sh:main"),
        ("usdt/libc.so.6:libc:setjmp", "usdt", "libc.so.6:libc:setjmp"),
        ("iter/bpf_map_elem", "iter", "bpf_map_elem"),
        ("struct_ops/dctcp_init", "struct_ops", "dctcp_init"),
        ("xdp/devmap", "xdp/devmap", ""),
        ("cgroup/skb", "cgroup/skb", ""),
    ],
)
def test_target(name: str, kind: str, target: str) -> None:
    spec = parse_section(name)
    assert (spec.name, spec.kind, spec.target) == (name, kind, target)


@pytest.mark.parametrize(
    ("name", "bare", "autoload"),
    [("?xdp", "xdp", False), ("xdp", "xdp", True), ("??xdp", "?xdp", False), ("?", "", False)],
)
def test_autoload(name: str, bare: str, autoload: bool) -> None:
    spec = parse_section(name)
    assert (spec.name, spec.autoload) == (bare, autoload)
    # Only one '?' is the mark; a second one is part of a name that no row has.
    assert (spec.prog_type == ProgType.XDP) == (bare == "xdp")


def test_attach_type_zero_is_not_none() -> None:
    assert parse_section("cgroup_skb/ingress").attach_type is AttachType.CGROUP_INET_INGRESS
    assert parse_section("cgroup/skb").attach_type is None


@pytest.mark.parametrize(
    ("name", "prefix", "kind"),
    [
        ("tp_btf/sys_enter", "btf_trace_", Kind.TYPEDEF),
        ("lsm/bprm_check_security", "bpf_lsm_", Kind.FUNC),
        ("lsm.s/bprm_check_security", "bpf_lsm_", Kind.FUNC),
        ("lsm_cgroup/socket_bind", "bpf_lsm_", Kind.FUNC),
        ("iter/task", "bpf_iter_", Kind.FUNC),
        ("iter.s/task", "bpf_iter_", Kind.FUNC),
        ("fentry/f", "", Kind.FUNC),
        ("fexit/f", "", Kind.FUNC),
        ("fmod_ret/f", "", Kind.FUNC),
        ("freplace/f", "", Kind.FUNC),
    ],
)
def test_btf_target(name: str, prefix: str, kind: Kind) -> None:
    assert parse_section(name).btf_target == BtfTarget(prefix, kind)


@pytest.mark.parametrize("name", ["raw_tp/sys_enter", "kprobe/f", "xdp", "struct_ops/f", "f"])
def test_no_btf_target(name: str) -> None:
    assert parse_section(name).btf_target is None


def test_flags() -> None:
    sleepable = {kind.name for kind in ATTACH_KINDS if kind.sleepable}
    assert sleepable == {k.name for k in ATTACH_KINDS if k.name.endswith(".s")} | {"syscall"}
    frags = {kind.name for kind in ATTACH_KINDS if kind.xdp_frags}
    assert frags == {"xdp.frags", "xdp.frags/devmap", "xdp.frags/cpumap"}
