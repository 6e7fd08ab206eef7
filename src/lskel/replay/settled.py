"""A trace with the settings of options: for loaders that have them without being told."""

from __future__ import annotations

from dataclasses import replace

from lskel.bpf.enums import ProgType
from lskel.catalog.entries import ANY_MACHINE
from lskel.errors import UsageError
from lskel.replay.options import Options, apply
from lskel.replay.prepared_trace import prepare_trace
from lskel.runtime.attach_point import btf_name, is_in_program
from lskel.runtime.kernel import RunningKernel
from lskel.runtime.maps.base import Map
from lskel.runtime.maps.kconfig import KconfigMap
from lskel.runtime.program import Program
from lskel.runtime.request import MapRequest, Request
from lskel.skeleton.dynamic import collection_of
from lskel.trace import BtfFind, Op, Trace


class _AnyKernel(RunningKernel):
    """The kernel of any machine: sizes that depend on it stay open."""

    cpus = ANY_MACHINE.cpus
    page_size = ANY_MACHINE.page_size


_ANY_KERNEL = _AnyKernel()


def settled(trace: Trace, options: Options) -> Trace:
    """The trace with these values and attributes of maps and programs.

    Errors as for the attributes; UsageError for what can only be set when loading.
    """
    bpf = collection_of(trace, None, _ANY_KERNEL)
    apply(options, bpf, trace)
    request = Request(
        tuple(_map_request(made, trace) for made in bpf.maps),
        tuple(program.request() for program in bpf.progs),
    )
    for program in bpf.progs:
        _check_program(program)
    made = prepare_trace(trace, request).trace
    ops = list(made.ops)
    for slot, program in enumerate(bpf.progs):
        if program.target is not None:
            number, find = _found_target(trace, slot, program)
            ops[number] = find
    programs = tuple(
        result._replace(autoload=program.autoload)
        for result, program in zip(made.programs, bpf.progs, strict=True)
    )
    return replace(made, ops=tuple(ops), programs=programs)


def _map_request(made: Map, trace: Trace) -> MapRequest:
    if not made.autocreate:
        raise _load_only(f"map '{made.name}'", "autocreate")
    if made.pin_path is not None:
        raise _load_only(f"map '{made.name}'", "pin_path")
    if isinstance(made, KconfigMap):  # its values are those of the machine that loads it
        definition = made.definition
        return MapRequest(made.name, definition.type)
    return made.request(_ANY_KERNEL, trace.order)


def _check_program(program: Program) -> None:
    if program.log_level:
        raise _load_only(f"program '{program.name}'", "log_level")


def _found_target(trace: Trace, slot: int, program: Program) -> tuple[int, Op]:
    """The operation that finds the attach target of a program, for its new target."""
    load, target = trace.prog_load(slot), program.target
    assert target is not None
    find = trace.ops[load.attach_btf.op] if load is not None and load.attach_btf else None
    is_struct_ops = program.definition.type == ProgType.STRUCT_OPS
    is_fixed = is_struct_ops or is_in_program(target)
    if load is None or load.attach_btf is None or not isinstance(find, BtfFind) or is_fixed:
        raise _load_only(f"program '{program.name}'", "target")
    name, kind = btf_name(program.definition, target)
    return load.attach_btf.op, replace(find, name=name, kind=kind)


def _load_only(what: str, attribute: str) -> UsageError:
    return UsageError(
        f"{what}: {attribute} can only be set when it is loaded",
        hint="give it to lskel load or run, or set it in Python before load()",
    )
