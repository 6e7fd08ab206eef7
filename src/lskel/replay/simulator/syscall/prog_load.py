"""BPF_PROG_LOAD: all checks except the verifier's, in the kernel's order (Linux 6.18)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from lskel.bpf import insn as i
from lskel.bpf.digest import program_digest
from lskel.bpf.enums import AttachType, MapType, ProgType
from lskel.bpf.flags import ProgFlag
from lskel.bpf.limits import MAX_INSNS, MAX_USED_MAPS
from lskel.btf import types as t
from lskel.btf.btf import MAX_TYPES
from lskel.btf.ext import CORE_RELO_SIZE, FUNC_INFO_SIZE, LINE_INFO_SIZE, Records
from lskel.btf.types import TypeId
from lskel.catalog.attach_kinds import ATTACH_KINDS, AttachCall, attach_types
from lskel.cursor import unpack_table
from lskel.errors import BadObject
from lskel.object.exceptions import ExceptionCallbacks
from lskel.replay.simulator.syscall.attrs import Attr
from lskel.replay.simulator.syscall.btfs import BtfObject, LoadedBtf, ModuleBtf
from lskel.replay.simulator.syscall.code import InsnReference, Target, function_starts, references
from lskel.replay.simulator.syscall.errnos import Errno, Refusal, check
from lskel.replay.simulator.syscall.fds import KernelObject
from lskel.replay.simulator.syscall.log import LogAttrFields, check_log, write_log
from lskel.replay.simulator.syscall.maps import SimulatedMap
from lskel.replay.simulator.syscall.object_names import object_name
from lskel.replay.simulator.syscall.programs import SimulatedProgram

if TYPE_CHECKING:
    from lskel.replay.simulator.syscall.state import KernelState, PendingCall

LICENSE_SIZE = 128
# MAX_FUNCINFO_REC_SIZE
_MAX_RECORD = 252
_LOG = LogAttrFields("log_level", "log_size", "log_buf")


# Those of Linux 6.18.
_FLAGS = 2 * ProgFlag.TEST_REG_INVARIANTS - 1


def load(state: KernelState, call: PendingCall) -> int:
    """BPF_PROG_LOAD: the fd."""
    attr, space = call.attr, state.space
    check(not attr["prog_flags"] & ~_FLAGS)
    check(0 < attr["insn_cnt"] <= MAX_INSNS, Errno.E2BIG)
    license_ = space.string(attr["license"], LICENSE_SIZE - 1, call.domain)
    target = _target(state, attr)
    check_attach(attr, target)
    code = space.read(attr["insns"], attr["insn_cnt"] * i.SIZE, call.domain)
    check(ProgType.UNSPEC < attr["prog_type"] <= max(ProgType))
    name = object_name(attr.bytes_of("prog_name"))
    check_log(attr, _LOG)
    loader = _Loader(state, call, code)
    loader.check_fd_array()
    btfs = loader.kfunc_btfs()
    tables = loader.tables()
    check(
        attr["attach_btf_id"] != 0
        or attr["prog_type"] not in _NEED_TARGET
        or _attaches_to_many(attr)
    )
    maps = loader.maps()
    btfs |= loader.variable_btfs()
    write_log(state, attr, _LOG)
    made = SimulatedProgram(
        attr=attr,
        type=attr["prog_type"],
        name=name,
        license=license_.decode("utf-8", "backslashreplace"),
        insns=code,
        btf=loader.btf,
        func_info=tables[0],
        line_info=tables[1],
        core_relos=tables[2],
        maps=maps,
        module_btfs=btfs,
        attach_to=target,
        attach_btf_id=attr["attach_btf_id"],
    )
    return state.open(made, call.number)


def _target(state: KernelState, attr: Attr) -> KernelObject | None:
    """The target program or module BTF; None for vmlinux, too."""
    fd = attr["attach_btf_obj_fd"]
    if not fd:
        return None
    try:
        return state.fds.get(fd, SimulatedProgram)
    except Refusal:
        pass
    try:
        found = state.fds.get(fd, BtfObject)
    except Refusal:
        raise Refusal(Errno.EINVAL) from None
    check(isinstance(found, ModuleBtf), Errno.ENOTSUPP)
    return found


# Maps with BPF_PSEUDO_MAP_VALUE addresses.
_DIRECT_VALUES = frozenset((MapType.ARRAY, MapType.ARENA, MapType.INSN_ARRAY))
# In a program's eyes a jump table is addresses.
_ADDRESS_SIZE = 8

# Types that may have a target, and those that must.
_MAY_HAVE_TARGET = frozenset(row.prog_type for row in ATTACH_KINDS if row.btf_target) | {
    ProgType.STRUCT_OPS
}
_NEED_TARGET = _MAY_HAVE_TARGET
_MAY_TARGET_PROGRAM = frozenset((ProgType.TRACING, ProgType.EXT))

# Attach types of tracing programs that have no target when they are loaded (Linux 7.2).
_OF_MANY = frozenset(row.attach_type for row in ATTACH_KINDS if row.call is AttachCall.FUNCTIONS)

# Types whose attach type the kernel checks (bpf_prog_load_check_attach).
_CHECKED = (
    ProgType.CGROUP_SOCK,
    ProgType.CGROUP_SOCK_ADDR,
    ProgType.CGROUP_SKB,
    ProgType.CGROUP_SOCKOPT,
    ProgType.SK_LOOKUP,
    ProgType.SK_REUSEPORT,
    ProgType.NETFILTER,
    ProgType.SYSCALL,
    ProgType.EXT,
)
_ATTACH_TYPES = {int(prog_type): attach_types(prog_type) for prog_type in _CHECKED}
# The attach type for 0, for program types older than attach types.
_DEFAULT_ATTACH_TYPE: dict[int, AttachType] = {
    ProgType.CGROUP_SOCK: AttachType.CGROUP_INET_SOCK_CREATE,
    ProgType.SK_REUSEPORT: AttachType.SK_REUSEPORT_SELECT,
}


def _attaches_to_many(attr: Attr) -> bool:
    return attr["prog_type"] == ProgType.TRACING and attr["expected_attach_type"] in _OF_MANY


def check_attach(attr: Attr, target: KernelObject | None) -> None:
    """Refusal EINVAL if program type, attach type and target are inconsistent."""
    prog_type, btf_id = attr["prog_type"], attr["attach_btf_id"]
    if btf_id:
        check(btf_id <= MAX_TYPES and prog_type in _MAY_HAVE_TARGET)
    if _attaches_to_many(attr):
        check(not btf_id)
        return
    if not btf_id and isinstance(target, BtfObject):
        raise Refusal(Errno.EINVAL)
    if isinstance(target, SimulatedProgram):
        check(prog_type in _MAY_TARGET_PROGRAM)
    attach_type = attr["expected_attach_type"] or _DEFAULT_ATTACH_TYPE.get(prog_type, 0)
    allowed = _ATTACH_TYPES.get(prog_type)
    check(allowed is None or attach_type in allowed)


def check_value(used: SimulatedMap, offset: int) -> None:
    """Refusal if instructions may not contain an address in the map's value."""
    check(used.type in _DIRECT_VALUES)
    if used.type is MapType.ARRAY:
        check(used.max_entries == 1, Errno.ENOTSUPP)
        check(0 <= offset < used.value_size)
    elif used.type is MapType.INSN_ARRAY:
        size = _ADDRESS_SIZE * used.max_entries
        check(0 <= offset < size and offset % _ADDRESS_SIZE == 0, Errno.EACCES)


class _Loader:
    """The checks of PROG_LOAD on the instructions."""

    def __init__(self, state: KernelState, call: PendingCall, code: bytes) -> None:
        self.state = state
        self.call = call
        self.attr = call.attr
        self.code = code
        self.references = list(references(code, state.order))
        self.btf: LoadedBtf | None = None

    def fd_of(self, reference: InsnReference) -> int:
        """The fd of a reference; Refusal EPROTO without an fd_array."""
        if reference.fd is not None:
            return reference.fd
        assert reference.slot is not None
        array = self.attr["fd_array"]
        check(array != 0, Errno.EPROTO)
        raw = self.state.space.read(array + 4 * reference.slot, 4, self.call.domain)
        return int.from_bytes(raw, self.state.order)

    def check_fd_array(self) -> None:
        """With fd_array_cnt, every fd of the array is checked, used or not."""
        fds, array = self.state.fds, self.attr["fd_array"]
        self.state.loaded.spend(self.attr["fd_array_cnt"])
        raw = self.state.space.read(array, 4 * self.attr["fd_array_cnt"], self.call.domain)
        for at in range(0, len(raw), 4):
            fd = int.from_bytes(raw[at : at + 4], self.state.order)
            try:
                fds.get(fd, BtfObject)
            except Refusal:
                fds.get(fd, SimulatedMap)

    def kfunc_btfs(self) -> dict[int, BtfObject]:
        """The modules of called kfuncs."""
        found: dict[int, BtfObject] = {}
        for reference in self.references:
            if reference.slot is None or reference.to is not Target.BTF:
                continue
            check(reference.slot > 0)
            btf = self.state.fds.get(self.fd_of(reference), BtfObject)
            check(isinstance(btf, ModuleBtf))
            found[reference.insn] = btf
        return found

    def variable_btfs(self) -> dict[int, BtfObject]:
        """The modules of kernel variables."""
        found: dict[int, BtfObject] = {}
        for reference in self.references:
            if reference.fd is not None and reference.to is Target.BTF:
                try:
                    found[reference.insn] = self.state.fds.get(reference.fd, BtfObject)
                except Refusal:
                    raise Refusal(Errno.EINVAL) from None
        return found

    def maps(self) -> dict[int, SimulatedMap]:
        """The used maps."""
        found: dict[int, SimulatedMap] = {}
        different: set[SimulatedMap] = set()
        for reference in self.references:
            if reference.to is Target.BTF:
                continue
            check(reference.to is Target.VALUE or reference.offset == 0)
            used = self.state.fds.get(self.fd_of(reference), SimulatedMap)
            if used.exclusive and used not in different:
                check(used.exclusive == program_digest(self.code, self.state.order), Errno.EACCES)
            if used.type is MapType.INSN_ARRAY and used not in different:
                self.check_instructions(used)
            if reference.to is Target.VALUE:
                check_value(used, reference.offset)
            found[reference.insn] = used
            different.add(used)
            check(len(different) <= MAX_USED_MAPS, Errno.E2BIG)
        return found

    def check_instructions(self, used: SimulatedMap) -> None:
        """A jump table: frozen, of instructions of this program, which no other one uses."""
        check(used.frozen)
        order = self.state.order
        for index in range(used.max_entries):
            element = used.storage.lookup(index.to_bytes(4, order), b"")
            assert isinstance(element, bytearray)
            insn = int.from_bytes(element[:4], order)
            check(insn < i.count(self.code))
            # Not the second slot of a ld_imm64.
            check(not insn or self.code[(insn - 1) * i.SIZE] != i.OP_LD_IMM64)
        check(not used.in_use, Errno.EBUSY)
        used.in_use = True

    def tables(self) -> tuple[Records, Records, Records]:
        """func_info, line_info and CO-RE relocations, checked; sets `btf`."""
        # Without func_info and line_info the kernel ignores BTF and relocations.
        if not self.attr["func_info_cnt"] and not self.attr["line_info_cnt"]:
            return Records(FUNC_INFO_SIZE), Records(LINE_INFO_SIZE), Records(CORE_RELO_SIZE)
        btf = self.state.fds.get(self.attr["prog_btf_fd"], BtfObject)
        check(isinstance(btf, LoadedBtf), Errno.EACCES)
        assert isinstance(btf, LoadedBtf)
        self.btf = btf
        functions = self.table("func_info", "func_info", FUNC_INFO_SIZE)
        lines = self.table("line_info", "line_info", LINE_INFO_SIZE)
        relocations = self.table("core_relos", "core_relo", CORE_RELO_SIZE)
        starts = self.function_starts(functions)
        self.check_functions(functions, starts)
        self.check_lines(lines, starts)
        self.check_relocations(relocations)
        return functions, lines, relocations

    def table(self, field: str, prefix: str, known: int) -> Records:
        """The records that an attr points to; Refusal E2BIG if unknown fields are not 0."""
        count, size = self.attr[f"{prefix}_cnt"], self.attr[f"{prefix}_rec_size"]
        if not count:
            return Records(known)
        check(known <= size <= _MAX_RECORD and size % 4 == 0)
        self.state.loaded.spend(count)
        data = self.state.space.read(self.attr[field], count * size, self.call.domain)
        for at in range(0, len(data), size):
            check(not any(data[at + known : at + size]), Errno.E2BIG)
        return Records(size, data)

    def function_starts(self, records: Records) -> list[int]:
        """The starts of all functions, which those of the records must be."""
        assert self.btf is not None
        starts = function_starts(self.code, self.state.order)
        offsets = records.offsets(self.state.order)
        if not offsets or offsets == starts:
            return starts
        # No instruction names an exception callback (Linux 6.7).
        name = ExceptionCallbacks(self.btf.btf).of(records, self.state.order)
        called = None if name is None else self.btf.btf.find(name, t.Func)
        rows = zip(offsets, self.function_types(records), strict=True)
        return sorted({*starts, *(offset for offset, type_id in rows if type_id == called)})

    def function_types(self, records: Records) -> list[int]:
        """The ids in these records of func_info."""
        form = f"II{records.size - FUNC_INFO_SIZE}x"
        rows = unpack_table(form, records.data, self.state.order, "func_info")
        return [type_id for _, type_id in rows]

    def check_functions(self, records: Records, starts: list[int]) -> None:
        """Check for one record per function, with a FUNC type."""
        if not len(records):
            return
        assert self.btf is not None
        check(records.offsets(self.state.order) == starts)
        check(all(map(self.is_function, self.function_types(records))))

    def is_function(self, type_id: int) -> bool:
        """Whether this id is a FUNC in the program's BTF."""
        assert self.btf is not None
        try:
            return isinstance(self.btf.btf[TypeId(type_id)], t.Func)
        except BadObject:
            return False

    def check_lines(self, records: Records, starts: list[int]) -> None:
        """Check for ascending instruction offsets, one at each function start, and valid names."""
        if not len(records):
            return
        assert self.btf is not None
        check(len(records) <= i.count(self.code))
        form = f"IIII{records.size - LINE_INFO_SIZE}x"
        rows = list(unpack_table(form, records.data, self.state.order, "line_info"))
        offsets = [row[0] for row in rows]
        check(all(sooner < later for sooner, later in pairwise(offsets)))
        check(offsets[-1] < i.count(self.code) and set(starts) <= set(offsets))
        strings = self.btf.btf.str_len_total
        for offset, file, line, _ in rows:
            # The second slot of ld_imm64 is not an instruction.
            check(self.code[offset * i.SIZE] != 0 and file < strings and line < strings)

    def check_relocations(self, records: Records) -> None:
        """Check for byte offsets of instructions."""
        for offset in records.offsets(self.state.order):
            check(offset % i.SIZE == 0 and offset < len(self.code))
