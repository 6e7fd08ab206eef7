"""The code of all programs of an object, a trace or a loader, with its references.

The code is that of the trace. For an object that lskel cannot load, the programs are linked one by
one instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import NamedTuple

from lskel.bpf.flags import ProgFlag
from lskel.btf.btf import Btf
from lskel.btf.ext import CORE_RELO_SIZE, FUNC_INFO_SIZE, LINE_INFO_SIZE, Records
from lskel.btf.types import TypeId
from lskel.cursor import ByteOrder
from lskel.describe.requirements import inputs, jump_tables, used_externs
from lskel.errors import LimitExceeded, LskelError, at
from lskel.load_phase.link import Linked, Linker
from lskel.load_phase.plan import link_program, linker
from lskel.loader.model import Loader
from lskel.loader.verify import undescribed
from lskel.object.model import Extern, MapSpec, Object
from lskel.object.sections import SectionSpec, parse_section
from lskel.trace import Input, Trace

Source = Object | Trace | Loader


class MapName(NamedTuple):
    """A map that code refers to by index; `value_type` is a BTF id, 0 for none.

    `op` is the operation that creates it, None if none.
    """

    name: str
    value_type: TypeId
    op: int | None


class ProgramCode(NamedTuple):
    """A program's code as in `trace.ProgLoad`, followed by its subprograms.

    `spec` is that of its section name; `type`, `attach_type` (None: not set) and `sleepable` are
    what the kernel gets. `externs` are the externs in the code, and `tables` the entries of jump
    tables that it loads the address of, both by instruction. `insns` is empty if
    there is no code. `problem` is the reason for that, or why the program cannot be loaded. If a
    trace loads it, `op` is that operation, and `finds` are the operations that look up its externs
    or create its jump tables, by instruction.
    """

    name: str
    spec: SectionSpec
    autoload: bool
    type: int
    attach_type: int | None
    sleepable: bool
    problem: str = ""
    insns: bytes = b""
    func_info: Records = Records(FUNC_INFO_SIZE)
    line_info: Records = Records(LINE_INFO_SIZE)
    core_relos: Records = Records(CORE_RELO_SIZE)
    externs: Mapping[int, Extern] = {}
    tables: Mapping[int, tuple[int, ...]] = {}
    op: int | None = None
    finds: Mapping[int, int] = {}


class ProgramsImage(NamedTuple):
    """All programs; `problem` is why the maps cannot be loaded, empty if they can.

    `inputs` are the numbers known only on the target, in words.
    """

    order: ByteOrder
    btf: Btf | None
    maps: tuple[MapName, ...]
    programs: tuple[ProgramCode, ...]
    inputs: tuple[str, ...] = ()
    problem: str = ""


def read_image(source: Source) -> ProgramsImage:
    """The code in `source`; BadObject if the BTF of a trace is broken."""
    if isinstance(source, Object):
        return object_image(source, _trace(source))
    return _of_trace(undescribed(source).trace if isinstance(source, Loader) else source)


def _of_trace(trace: Trace) -> ProgramsImage:
    btf = None if trace.btf is None else Btf(trace.btf)
    maps = (trace.map_create(slot) for slot in range(len(trace.maps)))
    return ProgramsImage(
        trace.order,
        btf,
        tuple(
            MapName(made.name, TypeId(create.value_type), made.op)
            for made, create in zip(trace.maps, maps, strict=True)
        ),
        tuple(_traced(trace, slot, btf) for slot in range(len(trace.programs))),
        inputs(trace),
    )


def _bare(name: str, spec: SectionSpec, *, autoload: bool) -> ProgramCode:
    return ProgramCode(name, spec, autoload, spec.prog_type, spec.attach_type, spec.sleepable)


def _traced(trace: Trace, slot: int, btf: Btf | None) -> ProgramCode:
    program = trace.programs[slot]
    code = _bare(program.name, parse_section(program.section), autoload=program.autoload)
    if program.op is None:
        return code._replace(problem="the loader does not contain its code")
    return _loaded(code, trace, slot, btf)


def _loaded(code: ProgramCode, trace: Trace, slot: int, btf: Btf | None) -> ProgramCode:
    load = trace.prog_load(slot)
    assert load is not None
    attach_type = load.expected_attach_type
    # The kernel gets 0 for attach type 0 and for none; for struct_ops, the index of a member, which
    # is known on the target.
    given = bool(attach_type) or code.spec.attach_type is not None
    return code._replace(
        type=load.type,
        attach_type=attach_type if given and not isinstance(attach_type, Input) else None,
        sleepable=bool(load.flags & ProgFlag.SLEEPABLE),
        insns=load.insns,
        func_info=load.func_info,
        line_info=load.line_info,
        core_relos=load.core_relos,
        externs=used_externs(trace, load, btf),
        tables=jump_tables(trace, load),
        op=trace.programs[slot].op,
        finds={reloc.insn: reloc.find.op for reloc in load.externs},
    )


def _trace(obj: Object) -> Trace | None:
    try:
        return obj.trace()
    except LskelError:
        return None


def object_image(obj: Object, trace: Trace | None) -> ProgramsImage:
    """The code in an object with this trace, or without one."""
    problem = ""
    if trace is None:
        switched_off = tuple(replace(program, autoload=False) for program in obj.programs)
        problem = _problem(replace(obj, programs=switched_off))
    return ProgramsImage(
        obj.order,
        obj.btf,
        tuple(_maps(obj, trace)),
        tuple(_programs(obj, trace)),
        inputs(trace) if trace is not None else (),
        problem,
    )


def _maps(obj: Object, trace: Trace | None) -> Iterator[MapName]:
    made = [] if trace is None else [a_map.op for a_map in trace.maps]
    for (_, a_map), op in zip_longest(_numbered(obj), made):
        yield MapName(a_map.name, a_map.value_type, op)


def _numbered(obj: Object) -> list[tuple[int, MapSpec]]:
    """The maps with the indexes that code uses: maps that are not created come last."""
    return sorted(enumerate(obj.maps), key=lambda item: not item[1].autocreate)


def _programs(obj: Object, trace: Trace | None) -> Iterator[ProgramCode]:
    loadable = linker(obj)
    # For listings, maps that are not created suffice.
    slots = {index: slot for slot, (index, _) in enumerate(_numbered(obj))}
    functions = (program.function for program in obj.programs)
    lenient = Linker(functions, obj.subprograms, slots, obj.order)
    for slot, program in enumerate(obj.programs):
        code = _bare(program.name, program.spec, autoload=program.autoload)
        if trace is not None and trace.programs[slot].op is not None:
            yield _loaded(code, trace, slot, obj.btf)
            continue
        try:
            linked = link_program(loadable, program)
        except LimitExceeded as error:
            yield code._replace(problem=str(error))
            continue
        except LskelError as error:
            code = code._replace(problem=str(error))
            try:
                with at(f"program '{program.name}'"):
                    linked = lenient.link(program.function, program.exception_callback)
            except LskelError as worse:
                yield code._replace(problem=str(worse))
                continue
        yield _linked(obj, code, linked)


def _problem(obj: Object) -> str:
    """Why the object cannot be loaded; empty if it can."""
    try:
        obj.trace()
    except LskelError as error:
        return str(error)
    return ""


def _linked(obj: Object, code: ProgramCode, linked: Linked) -> ProgramCode:
    return code._replace(
        insns=linked.insns,
        func_info=linked.func_info,
        line_info=linked.line_info,
        core_relos=linked.core_relos,
        externs={ref.insn: obj.externs[ref.extern] for ref in linked.externs},
        tables={insn: table.targets for table in linked.tables for insn in table.loads},
    )
