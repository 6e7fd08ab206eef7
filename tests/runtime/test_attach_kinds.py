"""Which class is for which program."""

from __future__ import annotations

import sys
from subprocess import run

import pytest

from lskel.bpf.enums import AttachType, ProgType
from lskel.catalog.attach_kinds import ATTACH_KINDS, AttachKindRow
from lskel.runtime.attach.kinds import class_path, program_class
from lskel.runtime.program import Program

# Programs that other things than a link make run: maps, ip(8), tc(8), ir-keytable(1), a call.
NOT_ATTACHED = {
    "syscall",
    "struct_ops",
    "struct_ops.s",
    "action",
    "xdp/devmap",
    "xdp/cpumap",
    "xdp.frags/devmap",
    "xdp.frags/cpumap",
    "lwt_in",
    "lwt_out",
    "lwt_xmit",
    "lwt_seg6local",
    "lirc_mode2",
}


@pytest.mark.parametrize("kind", ATTACH_KINDS, ids=[kind.name for kind in ATTACH_KINDS])
def test_every_section_has_its_class(kind: AttachKindRow) -> None:
    found = program_class(kind.name, kind.prog_type, kind.attach_type or 0)
    assert issubclass(found, Program)
    assert (found is Program) == (kind.name in NOT_ATTACHED)


@pytest.mark.parametrize(
    ("kind", "prog_type", "attach_type", "expected"),
    [
        ("uprobe.multi.s", ProgType.KPROBE, AttachType.TRACE_UPROBE_MULTI, "UprobeMultiProgram"),
        ("usdt", ProgType.KPROBE, AttachType.TRACE_UPROBE_MULTI, "UsdtProgram"),
        ("ksyscall", ProgType.KPROBE, 0, "KprobeProgram"),
        ("kprobe.session", ProgType.KPROBE, AttachType.TRACE_KPROBE_SESSION, "KprobeMultiProgram"),
        ("netkit/peer", ProgType.SCHED_CLS, AttachType.NETKIT_PEER, "NetkitProgram"),
        ("lsm_cgroup", ProgType.LSM, AttachType.LSM_CGROUP, "CgroupProgram"),
        # Sections that say nothing: the types were given in another way.
        ("mine", ProgType.XDP, 0, "XdpProgram"),
        ("", ProgType.TRACING, AttachType.TRACE_FEXIT, "TracingProgram"),
        ("", ProgType.TRACING, AttachType.TRACE_ITER, "IteratorProgram"),
        ("", ProgType.TRACING, AttachType.TRACE_FSESSION, "TracingProgram"),
        ("", ProgType.TRACING, AttachType.TRACE_FENTRY_MULTI, "TracingMultiProgram"),
        ("", ProgType.UNSPEC, 0, ""),
        # Types of kernels to come.
        ("", 1000, 0, ""),
        ("", ProgType.XDP, 1000, ""),
    ],
)
def test_class_path(kind: str, prog_type: int, attach_type: int, expected: str) -> None:
    assert class_path(kind, prog_type, attach_type).partition(":")[2] == expected


def test_a_path_imports_nothing() -> None:
    code = (
        "import sys; from lskel.runtime.attach.kinds import class_path;"
        "assert class_path('xdp', 6, 37); print('lskel.runtime.attach.xdp' in sys.modules)"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
