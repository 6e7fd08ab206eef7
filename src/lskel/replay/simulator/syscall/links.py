"""Links: attaching programs, and binding maps to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lskel.bpf.enums import AttachType
from lskel.bpf.flags import MapFlag
from lskel.btf.kinds import Kind
from lskel.catalog.attach_kinds import AttachCall, prog_types
from lskel.replay.simulator.syscall.errnos import Errno, check
from lskel.replay.simulator.syscall.maps import SimulatedMap
from lskel.replay.simulator.syscall.programs import Link, SimulatedProgram
from lskel.replay.simulator.syscall.space import Domain

if TYPE_CHECKING:
    from lskel.replay.simulator.syscall.state import KernelState, PendingCall

TRACEPOINT_NAME_SIZE = 128
_BY_NAME = prog_types(AttachCall.TRACEPOINT)
_BY_TARGET = prog_types(AttachCall.LOADED_FOR, AttachCall.REPLACE)


def raw_tracepoint_open(state: KernelState, call: PendingCall) -> int:
    """BPF_RAW_TRACEPOINT_OPEN: the link's fd. The name is always in user memory."""
    attr = call.attr
    program = state.fds.get(attr["prog_fd"], SimulatedProgram)
    name = ""
    if program.type in _BY_TARGET:
        # The target was set when the program was loaded.
        check(attr["name"] == 0)
    else:
        check(program.type in _BY_NAME)
        raw = state.space.string(attr["name"], TRACEPOINT_NAME_SIZE - 1, Domain.USER)
        name = raw.decode("utf-8", "backslashreplace")
        known = state.names.type(f"btf_trace_{name}", Kind.TYPEDEF)
        check(known is not None, Errno.ENOENT)
    return state.open(Link(program, program.attr["expected_attach_type"], name), call.number)


def create(state: KernelState, call: PendingCall) -> int:
    """BPF_LINK_CREATE: the link's fd. The attach target is not checked."""
    attr = call.attr
    if attr["attach_type"] == AttachType.STRUCT_OPS:
        ops = state.fds.get(attr["map_fd"], SimulatedMap)
        check(bool(ops.flags & MapFlag.LINK) and not attr["target_fd"] and not attr["flags"])
        return state.open(Link(ops, AttachType.STRUCT_OPS), call.number)
    program = state.fds.get(attr["prog_fd"], SimulatedProgram)
    check(attr["attach_type"] <= max(AttachType))
    return state.open(Link(program, attr["attach_type"]), call.number)


def bind_map(state: KernelState, call: PendingCall) -> int:
    """BPF_PROG_BIND_MAP: the program keeps the map alive."""
    attr = call.attr
    check(attr["flags"] == 0)
    program = state.fds.get(attr["prog_fd"], SimulatedProgram)
    bound = state.fds.get(attr["map_fd"], SimulatedMap)
    if bound not in program.bound:
        program.bound.append(bound)
    return 0
