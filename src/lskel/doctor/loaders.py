"""What loader programs need, and whether they run: a loader of each form is run."""

from __future__ import annotations

import sys

from lskel.bpf import context
from lskel.bpf import insn as i
from lskel.bpf.asm import Assembler
from lskel.bpf.enums import Cmd, MapType, ProgType
from lskel.bpf.flags import ProgFlag
from lskel.bpf.insn import Insn
from lskel.bpf.layouts import MAP_CREATE
from lskel.btf.build import BtfBuilder
from lskel.btf.ext import CORE_RELO_SIZE, FUNC_INFO_SIZE, LINE_INFO_SIZE, Records
from lskel.btf.kinds import Kind
from lskel.btf.types import FuncLinkage
from lskel.doctor import bpf_objects
from lskel.doctor.files import SEE_ADDRESSES
from lskel.doctor.finding import Finding, Probe, no, yes
from lskel.loader.generate import generate
from lskel.loader.model import Form, context_size
from lskel.runtime.loader import run_loader
from lskel.runtime.loader_fds import LoaderFd
from lskel.runtime.objects import ObjectKind
from lskel.runtime.syscall import address_of, host_attr
from lskel.runtime.token import with_token
from lskel.runtime.token_fields import add_token
from lskel.skeleton.places import places_of
from lskel.trace import MapCreate, MapResult, ProgLoad, ProgramResult, Trace

_OLD = "loader programs need Linux 5.17; --replay direct and `lskel gen` work without"
_SYSCALL = ("loader.syscall_programs",)
# A struct of every kernel, with a member at an offset other than 0.
_STRUCT, _MEMBER = "task_struct", "pid"
_CORE_FIELD_BYTE_OFFSET = 0
_NAME_SIZE = 16


def _run(code: bytes, **fields: int) -> int:
    """Run a SYSCALL program, as loaders are, and return its result."""
    made = bpf_objects.load_program(ProgType.SYSCALL, code, prog_flags=ProgFlag.SLEEPABLE, **fields)
    with made as program:
        return bpf_objects.run_program(program)


def _expect(found: int, wanted: int) -> Finding:
    return yes() if found == wanted else no(f"expected {wanted}, got {found}", _OLD)


def _syscall_programs() -> Finding:
    return _expect(_run(bpf_objects.returns(7)), 7)


def _fd_array() -> Finding:
    """Refer to a map by its index and read its value, 0."""
    asm = bpf_objects.assembler()
    asm.map_value(1, 0, 0)
    asm.load(4, 0, 1, 0)
    asm.exit()
    with bpf_objects.array() as array:
        fds = array.fileno().to_bytes(4, sys.byteorder)
        return _expect(_run(asm.assemble(), fd_array=address_of(fds)), 0)


def _sys_bpf() -> Finding:
    """Create a map with bpf_sys_bpf and close it with bpf_sys_close."""
    asm = bpf_objects.assembler()
    fields = {"map_type": MapType.ARRAY, "key_size": 4, "value_size": 4, "max_entries": 1}
    attr = host_attr(MAP_CREATE, "max_entries", **fields)
    add_token(attr, Cmd.MAP_CREATE)
    for offset in range(0, len(attr), 4):
        word = int.from_bytes(attr[offset : offset + 4], sys.byteorder)
        asm.store_imm(4, 10, offset - len(attr), word)
    asm.mov_imm(1, Cmd.MAP_CREATE)
    asm.mov(2, 10)
    asm.alu_imm(i.ADD, 2, -len(attr))
    asm.mov_imm(3, len(attr))
    asm.call("sys_bpf")
    asm.mov(1, 0)
    asm.jump_if(i.JSLT, 0, 0, "out")
    asm.call("sys_close")
    asm.label("out")
    asm.exit()
    return _expect(_run(asm.assemble()), 0)


def _name_on_stack(asm: Assembler, name: str) -> None:
    """r1, r2 = a name and its size including the NUL."""
    text = name.encode() + b"\0"
    padded = text.ljust(_NAME_SIZE, b"\0")
    for offset in range(0, _NAME_SIZE, 4):
        word = int.from_bytes(padded[offset : offset + 4], sys.byteorder, signed=True)
        asm.store_imm(4, 10, offset - _NAME_SIZE, word)
    asm.mov(1, 10)
    asm.alu_imm(i.ADD, 1, -_NAME_SIZE)
    asm.mov_imm(2, len(text))


def _find_by_name_kind() -> Finding:
    asm = bpf_objects.assembler()
    _name_on_stack(asm, _STRUCT)
    asm.mov_imm(3, Kind.STRUCT)
    asm.mov_imm(4, 0)
    asm.call("btf_find_by_name_kind")
    asm.exit()
    found = _run(asm.assemble())
    if found > 0:
        return yes()
    return no(f"it returned {found}", "build the kernel with CONFIG_DEBUG_INFO_BTF")


def _kallsyms() -> Finding:
    asm = bpf_objects.assembler()
    asm.store_imm(8, 10, -24, 0)
    _name_on_stack(asm, "schedule")
    asm.mov_imm(3, 0)
    asm.mov(4, 10)
    asm.alu_imm(i.ADD, 4, -24)
    asm.call("kallsyms_lookup_name")
    asm.exit()
    found = _run(asm.assemble())
    if found == 0:
        return yes()
    return no(
        f"it returned {found}",
        f"objects with __ksym variables need CONFIG_KALLSYMS, Linux 5.16, and {SEE_ADDRESSES}",
    )


def _copy_from_user() -> Finding:
    """Copy a number from this process."""
    number = bytearray((42).to_bytes(4, sys.byteorder))
    asm = bpf_objects.assembler()
    asm.store_imm(4, 10, -4, 0)
    asm.mov(1, 10)
    asm.alu_imm(i.ADD, 1, -4)
    asm.mov_imm(2, 4)
    address = address_of(number)
    asm.emit(Insn(i.OP_LD_IMM64, 3, imm=_signed(address & 0xFFFFFFFF)))
    asm.emit(Insn(0, imm=_signed(address >> 32)))
    asm.call("copy_from_user")
    asm.jump_if(i.JNE, 0, 0, "out")
    asm.load(4, 0, 10, -4)
    asm.label("out")
    asm.exit()
    return _expect(_run(asm.assemble()), 42)


def _signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word


def _functions(btf: BtfBuilder, *names: str) -> list[int]:
    """BTF ids of functions `int NAME(void)`."""
    proto = btf.add(Kind.FUNC_PROTO, "", 0, btf.add_int())
    return [btf.add(Kind.FUNC, name, FuncLinkage.STATIC, proto) for name in names]


def _bpf_loop() -> Finding:
    """Three iterations of an empty function."""
    asm = bpf_objects.assembler()
    asm.mov_imm(1, 3)
    asm.function(2, "round")
    asm.mov_imm(3, 0)
    asm.mov_imm(4, 0)
    asm.call("loop")
    asm.exit()
    asm.label("round")
    start = len(asm)
    asm.mov_imm(0, 0)
    asm.exit()
    btf = bpf_objects.btf_builder()
    main, round_ = _functions(btf, "main", "round")
    with bpf_objects.load_described(
        ProgType.SYSCALL,
        asm.assemble(),
        btf,
        [(0, main), (start, round_)],
        flags=ProgFlag.SLEEPABLE,
    ) as program:
        return _expect(bpf_objects.run_program(program), 3)


def _core() -> Finding:
    """The kernel replaces the offset 0 of a member in our struct with its own offset."""
    btf = bpf_objects.btf_builder()
    (main,) = _functions(btf, "main")
    struct = btf.add(Kind.STRUCT, _STRUCT, 1, 4, btf.string(_MEMBER), 1, 0)
    relo = (0, struct, btf.string("0:0"), _CORE_FIELD_BYTE_OFFSET)
    with bpf_objects.load_described(
        ProgType.SYSCALL,
        bpf_objects.returns(0),
        btf,
        [(0, main)],
        b"".join(word.to_bytes(4, sys.byteorder) for word in relo),
        flags=ProgFlag.SLEEPABLE,
    ) as program:
        offset = bpf_objects.run_program(program)
    if offset > 0:
        return yes()
    return no(
        "the kernel ignores CO-RE relocations",
        "objects with CO-RE relocations need Linux 5.17 with CONFIG_DEBUG_INFO_BTF",
    )


def trace() -> Trace:
    """A trace with a map and a program that reads it."""
    asm = bpf_objects.assembler()
    asm.map_value(1, 0, 0)
    asm.load(4, 0, 1, 0)
    asm.exit()
    a_map = MapCreate(
        name="doctor_map",
        type=MapType.ARRAY,
        key_size=4,
        value_size=4,
        max_entries=1,
        flags=0,
        numa_node=0,
        map_extra=0,
        btf=None,
        key_type=0,
        value_type=0,
        btf_is_optional=False,
        kernel_value_type=None,
        inner=None,
        slot=0,
    )
    program = ProgLoad(
        name="doctor_prog",
        type=ProgType.SYSCALL,  # as the loader's own, which a BPF token must delegate anyway
        expected_attach_type=0,
        flags=ProgFlag.SLEEPABLE,
        license="GPL",
        insns=asm.assemble(),
        btf=None,
        func_info=Records(FUNC_INFO_SIZE),
        line_info=Records(LINE_INFO_SIZE),
        core_relos=Records(CORE_RELO_SIZE),
        externs=(),
        attach_btf=None,
        attach_btf_id=None,
        attach_fd=None,
        slot=0,
    )
    return Trace(
        "doctor",
        sys.byteorder,
        (a_map, program),
        (MapResult("doctor_map", ".maps", 0),),
        (ProgramResult("doctor_prog", "syscall", 1),),
    )


def _form(form: Form) -> Finding:
    loader = generate(trace(), form)
    ctx = bytearray(context_size(loader.trace))
    ctx[:4] = len(ctx).to_bytes(4, sys.byteorder)
    wanted = (
        LoaderFd(ObjectKind.MAP, context.map_fd(0), "doctor_map", MapType.ARRAY),
        LoaderFd(ObjectKind.PROG, context.program_fd(1, 0), "doctor_prog", ProgType.SYSCALL),
    )
    blob = with_token(loader.blob, places_of(loader).calls)
    result = run_loader(loader.insns, blob, ctx, loader.btf, loader.func_info, wanted)
    if result.value:
        return no(f"the loader returned {result.value}", "use --replay direct")
    for fd in result.fds:
        fd.close()
    return yes()


PROBES = (
    Probe(
        "loader.syscall_programs", "SYSCALL programs run", _syscall_programs, ("permission.maps",)
    ),
    Probe("loader.fd_array", "maps by index (fd_array)", _fd_array, _SYSCALL),
    Probe("loader.sys_bpf", "bpf_sys_bpf, bpf_sys_close", _sys_bpf, _SYSCALL),
    Probe("loader.copy_from_user", "bpf_copy_from_user", _copy_from_user, _SYSCALL),
    Probe("loader.btf_find", "bpf_btf_find_by_name_kind", _find_by_name_kind, _SYSCALL),
    Probe("loader.kallsyms", "bpf_kallsyms_lookup_name", _kallsyms, _SYSCALL),
    Probe("loader.bpf_loop", "bpf_loop", _bpf_loop, _SYSCALL),
    Probe("loader.core", "CO-RE in the kernel", _core, _SYSCALL),
    Probe("loader.table", "table loader runs", lambda: _form(Form.TABLE), _SYSCALL),
    Probe(
        "loader.unrolled",
        "unrolled loader runs",
        lambda: _form(Form.UNROLLED),
        _SYSCALL,
    ),
)
