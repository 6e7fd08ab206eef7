"""Ways to attach that take more than one program: functions that are replaced, and struct_ops."""

from __future__ import annotations

from contextlib import ExitStack

from lskel.bpf import insn as i
from lskel.bpf.enums import MapType, ProgType
from lskel.bpf.insn import CallKind, Insn
from lskel.bpf.struct_ops import VALUE_PREFIX, Member, StructOps
from lskel.btf.types import FuncLinkage, Kind
from lskel.doctor import tiny
from lskel.runtime import kernel_struct
from lskel.runtime.attach.freplace import attach_freplace
from lskel.runtime.kernel_btf import KernelBtf
from lskel.runtime.struct_ops import register

# Congestion control that nobody asks for by its name.
_OPS = "tcp_congestion_ops"
_NAME = b"lskel_doctor"
_NAME_SIZE = 16
# What the kernel insists on (tcp_validate_congestion_control).
_FUNCTIONS = ("ssthresh", "undo_cwnd", "cong_avoid")


def replace_function() -> None:
    """One program calls a function, which another one takes the place of. Neither is run."""
    asm = tiny.assembler()
    asm.emit(Insn(i.OP_CALL, 0, CallKind.SUBPROGRAM, imm=1))
    asm.exit()
    start = len(asm)
    asm.mov_imm(0, 1)
    asm.exit()
    btf = tiny.Btf()
    number = btf.add_int()
    proto = btf.add(Kind.FUNC_PROTO, "", 0, number)
    main = btf.add(Kind.FUNC, "main", FuncLinkage.GLOBAL, proto)
    function = btf.add(Kind.FUNC, "function", FuncLinkage.GLOBAL, proto)
    code = asm.assemble()
    with ExitStack() as stack:
        called = stack.enter_context(
            tiny.load_described(ProgType.SCHED_CLS, code, btf, [(0, main), (start, function)])
        )
        replacing = tiny.load_described(
            ProgType.EXT,
            tiny.returns(2),
            btf,
            [(0, function)],
            attach_prog_fd=called.fileno(),
            attach_btf_id=function,
        )
        stack.enter_context(replacing)
        attach_freplace(replacing.fileno()).close()


def register_ops() -> None:
    """Congestion control of a name of its own is registered, and taken back at once."""
    kernel = KernelBtf()
    outer = kernel.find(VALUE_PREFIX + _OPS, Kind.STRUCT)
    inner = kernel.find(_OPS, Kind.STRUCT)
    with ExitStack() as stack:
        programs = {}
        for name in _FUNCTIONS:
            program = tiny.load_program(
                ProgType.STRUCT_OPS,
                tiny.returns(0),
                attach_btf_id=inner.type_id,
                expected_attach_type=kernel_struct.member_index(kernel, _OPS, name),
            )
            programs[name] = stack.enter_context(program).fileno()
        btf = tiny.Btf()
        btf.add_int()
        made = stack.enter_context(
            tiny.create_map(
                MapType.STRUCT_OPS,
                4,
                kernel_struct.type_size(kernel, VALUE_PREFIX + _OPS),
                1,
                # The kernel insists on an object's BTF and makes no use of it.
                btf_fd=stack.enter_context(btf.load()).fileno(),
                btf_vmlinux_value_type_id=outer.type_id,
            )
        )
        members = [Member(name, bytes(8), True, name) for name in _FUNCTIONS]
        members.append(Member("name", _NAME.ljust(_NAME_SIZE, b"\0"), False, None))
        value = kernel_struct.value(kernel, StructOps(_OPS, tuple(members)), programs)
        register(made.fileno(), value, by_link=False).close()
