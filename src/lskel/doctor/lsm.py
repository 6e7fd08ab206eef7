"""Whether hooks of LSMs call BPF programs: where `bpf` is no active LSM, they attach in vain."""

from __future__ import annotations

import os

from lskel.bpf import insn as i
from lskel.bpf.enums import AttachType, ProgType
from lskel.bpf.insn import Insn, Pseudo
from lskel.btf.kinds import Kind
from lskel.doctor import tiny
from lskel.errors import LskelError
from lskel.runtime.attach.tracing import attach_tracing
from lskel.runtime.files import read_text
from lskel.runtime.kernel_btf import KernelBtf
from lskel.runtime.one_element import lookup

# Asking for the session of a process. Hardly anybody does, and nobody is refused it.
_HOOK = "bpf_lsm_task_getsid"
_ACTIVE = "/sys/kernel/security/lsm"


def hooks_are_called() -> bool:
    """Whether a program runs that is attached to a hook which this process then passes.

    LskelError where that cannot be tried.
    """
    with tiny.array() as ran:
        asm = tiny.assembler()
        asm.emit(Insn(i.OP_LD_IMM64, 1, Pseudo.MAP_VALUE, imm=ran.fileno()))
        asm.emit(Insn(0))
        asm.store_imm(4, 1, 0, 1)
        asm.mov_imm(0, 0)
        asm.exit()
        program = tiny.load_program(
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
            f"getsid: {error.strerror}", hint="another LSM refuses it: see the audit log"
        ) from error


def how_to_have_them_called() -> str:
    """What to do where they are not."""
    try:
        active = read_text(_ACTIVE)
    except OSError:
        return f"boot with lsm=..., where ... is what {_ACTIVE} of securityfs has, and bpf"
    return f"boot with lsm={active},bpf"
