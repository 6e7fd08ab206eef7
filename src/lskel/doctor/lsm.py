"""Whether LSM hooks call BPF programs: only if `bpf` is an active LSM."""

from __future__ import annotations

import os

from lskel.bpf import insn as i
from lskel.bpf.enums import AttachType, ProgType
from lskel.bpf.insn import Insn, Pseudo
from lskel.btf.kinds import Kind
from lskel.doctor import bpf_objects
from lskel.errors import LskelError
from lskel.runtime.attach.tracing import attach_tracing
from lskel.runtime.files import read_text
from lskel.runtime.kernel_btf import KernelBtf
from lskel.runtime.one_element import lookup

# getsid(2): rarely called, and never refused.
_HOOK = "bpf_lsm_task_getsid"
_ACTIVE = "/sys/kernel/security/lsm"


def hooks_are_called() -> bool:
    """Attach a program to a hook, call the hook, and return whether the program ran.

    LskelError if that cannot be tested.
    """
    with bpf_objects.array() as ran:
        asm = bpf_objects.assembler()
        asm.emit(Insn(i.OP_LD_IMM64, 1, Pseudo.MAP_VALUE, imm=ran.fileno()))
        asm.emit(Insn(0))
        asm.store_imm(4, 1, 0, 1)
        asm.mov_imm(0, 0)
        asm.exit()
        program = bpf_objects.load_program(
            ProgType.LSM,
            asm.assemble(),
            expected_attach_type=AttachType.LSM_MAC,
            attach_btf_id=KernelBtf().find(_HOOK, Kind.FUNC).type_id,
        )
        with program, attach_tracing(program.fileno(), AttachType.LSM_MAC):
            _pass_the_hook()
        return lookup(ran.fileno(), bytes(4), 4) != bytes(4)


def _pass_the_hook() -> None:
    try:
        os.getsid(os.getpid())
    except OSError as error:
        raise LskelError(
            f"getsid: {error.strerror}", hint="another LSM denies it: see the audit log"
        ) from error


def how_to_have_them_called() -> str:
    """The remedy if they do not."""
    try:
        active = read_text(_ACTIVE)
    except OSError:
        return f"boot with lsm=...,bpf, where ... is the content of {_ACTIVE} in securityfs"
    return f"boot with lsm={active},bpf"
