"""The attach kinds that need more than one program: freplace and struct_ops."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from lskel.bpf import insn as i
from lskel.bpf.enums import MapType, ProgType
from lskel.bpf.flags import MapFlag
from lskel.bpf.insn import CallKind, Insn
from lskel.bpf.struct_ops import VALUE_PREFIX, Member, StructOps
from lskel.btf.kinds import Kind
from lskel.btf.types import FuncLinkage
from lskel.doctor import bpf_objects
from lskel.doctor.finding import NotTried
from lskel.runtime import kernel_struct
from lskel.runtime.attach.freplace import attach_freplace
from lskel.runtime.kernel_btf import KernelBtf
from lskel.runtime.objects import Fd
from lskel.runtime.struct_ops import register
from lskel.runtime.syscall import BpfError

if TYPE_CHECKING:
    from lskel.runtime.attach.link import Link

# A congestion control that no socket uses.
_OPS = "tcp_congestion_ops"
_NAME_SIZE = 16
# The required members (tcp_validate_congestion_control).
_FUNCTIONS = ("ssthresh", "undo_cwnd", "cong_avoid")


def replace_function() -> Link:
    """Replace a function of one program with another program. Neither runs."""
    asm = bpf_objects.assembler()
    asm.emit(Insn(i.OP_CALL, 0, CallKind.SUBPROGRAM, imm=1))
    asm.exit()
    start = len(asm)
    asm.mov_imm(0, 1)
    asm.exit()
    btf = bpf_objects.btf_builder()
    number = btf.add_int()
    proto = btf.add(Kind.FUNC_PROTO, "", 0, number)
    main = btf.add(Kind.FUNC, "main", FuncLinkage.GLOBAL, proto)
    function = btf.add(Kind.FUNC, "function", FuncLinkage.GLOBAL, proto)
    code = asm.assemble()
    with ExitStack() as stack:
        called = stack.enter_context(
            bpf_objects.load_described(
                ProgType.SOCKET_FILTER, code, btf, [(0, main), (start, function)]
            )
        )
        replacing = bpf_objects.load_described(
            ProgType.EXT,
            bpf_objects.returns(2),
            btf,
            [(0, function)],
            attach_prog_fd=called.fileno(),
            attach_btf_id=function,
        )
        stack.enter_context(replacing)
        return attach_freplace(replacing.fileno())


def register_ops() -> Link:
    """Register a congestion control with a unique name until the result is closed.

    By a link, which ends with this process. NotTried before Linux 6.4, which has no link for
    struct_ops: there it would stay registered if this process were killed.
    """
    kernel = KernelBtf()
    ops = kernel.find(_OPS, Kind.STRUCT)
    with ExitStack() as stack:
        programs = {}
        for name in _FUNCTIONS:
            program = bpf_objects.load_program(
                ProgType.STRUCT_OPS,
                bpf_objects.returns(0),
                attach_btf_id=ops.type_id,
                expected_attach_type=kernel_struct.member_index(kernel, _OPS, name),
            )
            programs[name] = stack.enter_context(program).fileno()
        members = [Member(name, bytes(8), True, name) for name in _FUNCTIONS]
        name_of_ops = f"lskel_{os.getpid()}".encode().ljust(_NAME_SIZE, b"\0")
        members.append(Member("name", name_of_ops, False, None))
        value = kernel_struct.value(kernel, StructOps(_OPS, tuple(members)), programs)
        try:
            made = stack.enter_context(_ops_map(kernel, MapFlag.LINK))
        except BpfError as error:
            if error.errno != errno.EINVAL:
                raise
            _ops_map(kernel, 0).close()
            raise NotTried(
                "would stay registered if doctor were killed",
                hint="`lskel run` registers those of an object; struct_ops links need Linux 6.4",
            ) from error
        return register(made.fileno(), value, by_link=True)


def _ops_map(kernel: KernelBtf, flags: int) -> Fd:
    btf = bpf_objects.btf_builder()
    btf.add_int()
    with bpf_objects.load_btf(
        btf
    ) as types:  # the kernel requires BTF of the object, but does not use it
        return bpf_objects.create_map(
            MapType.STRUCT_OPS,
            4,
            kernel_struct.type_size(kernel, VALUE_PREFIX + _OPS),
            1,
            map_flags=flags,
            btf_fd=types.fileno(),
            btf_vmlinux_value_type_id=kernel.find(VALUE_PREFIX + _OPS, Kind.STRUCT).type_id,
        )
