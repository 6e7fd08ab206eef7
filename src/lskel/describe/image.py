"""The code of all programs of an object, a trace or a loader, with what it refers to.

Where a trace can be made, the code is the trace's. An object that lskel cannot load is still to be
looked at: then its programs are linked one by one.
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
from lskel.describe.asks import inputs, used_externs
from lskel.errors import LimitExceeded, LskelError, at
from lskel.load_phase.link import Linked, Linker
from lskel.load_phase.plan import link_program, linker
from lskel.loader.model import Loader
from lskel.loader.verify import undescribed
from lskel.object.model import Extern, Map, Object
from lskel.object.sections import SectionSpec, parse_section
from lskel.trace import Input, Trace

Source = Object | Trace | Loader


class MapName(NamedTuple):
    """A map that code refers to by index; `value_type` is a BTF id, 0 for none.

    `op` is the operation that makes it, None where there is none.
    """

    name: str
    value_type: TypeId
    op: int | None


class Code(NamedTuple):
    """A program's code as `trace.ProgLoad` has it, with its subprograms behind it.

    `spec` is what its section's name says; `type`, `attach_type` (None: not given) and `sleepable`
    are what the kernel gets. `externs` are those that the code refers to, by instruction. `insns`
    is empty where there is no code. `problem` says why that is so, or why the program cannot be
    loaded. Where a trace loads it, `op` is the operation that does, `finds` are those that find the
    externs, by instruction.
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
    op: int | None = None
    finds: Mapping[int, int] = {}


class Image(NamedTuple):
    """All programs; `problem` says why the maps around them cannot be loaded, empty if they can.

    `inputs` are the numbers that only the target knows, in words.
    """

    order: ByteOrder
    btf: Btf | None
    maps: tuple[MapName, ...]
    programs: tuple[Code, ...]
    inputs: tuple[str, ...] = ()
    problem: str = ""


def read_image(source: Source) -> Image:
    """The code in `source`; BadObject where the BTF of a trace is broken."""
    if isinstance(source, Object):
        return object_image(source, _trace(source))
    return _of_trace(undescribed(source).trace if isinstance(source, Loader) else source)


def _of_trace(trace: Trace) -> Image:
    btf = None if trace.btf is None else Btf(trace.btf)
    maps = (trace.map_create(slot) for slot in range(len(trace.maps)))
    return Image(
        trace.order,
        btf,
        tuple(
            MapName(made.name, TypeId(create.value_type), made.op)
            for made, create in zip(trace.maps, maps, strict=True)
        ),
        tuple(_traced(trace, slot, btf) for slot in range(len(trace.programs))),
        inputs(trace),
    )


def _bare(name: str, spec: SectionSpec, *, autoload: bool) -> Code:
    return Code(name, spec, autoload, spec.prog_type, spec.attach_type, spec.sleepable)


def _traced(trace: Trace, slot: int, btf: Btf | None) -> Code:
    program = trace.programs[slot]
    code = _bare(program.name, parse_section(program.section), autoload=program.autoload)
    if program.op is None:
        return code._replace(problem="its code is not in the loader")
    return _loaded(code, trace, slot, btf)


def _loaded(code: Code, trace: Trace, slot: int, btf: Btf | None) -> Code:
    load = trace.prog_load(slot)
    assert load is not None
    attach_type = load.expected_attach_type
    # The kernel gets 0 both for the attach type of that number and for none; for struct_ops, the
    # number of a member, which the target knows.
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
        op=trace.programs[slot].op,
        finds={reloc.insn: reloc.find.op for reloc in load.externs},
    )


def _trace(obj: Object) -> Trace | None:
    try:
        return obj.trace()
    except LskelError:
        return None


def object_image(obj: Object, trace: Trace | None) -> Image:
    """The code in an object that has this trace, or none."""
    problem = ""
    if trace is None:
        switched_off = tuple(replace(program, autoload=False) for program in obj.programs)
        problem = _problem(replace(obj, programs=switched_off))
    return Image(
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


def _numbered(obj: Object) -> list[tuple[int, Map]]:
    """The maps with their indexes, as code refers to them: those that are not created come last."""
    return sorted(enumerate(obj.maps), key=lambda item: not item[1].autocreate)


def _programs(obj: Object, trace: Trace | None) -> Iterator[Code]:
    loadable = linker(obj)
    # To look at, maps that are not created will do.
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
    """Why the object cannot be loaded; empty where it can."""
    try:
        obj.trace()
    except LskelError as error:
        return str(error)
    return ""


def _linked(obj: Object, code: Code, linked: Linked) -> Code:
    return code._replace(
        insns=linked.insns,
        func_info=linked.func_info,
        line_info=linked.line_info,
        core_relos=linked.core_relos,
        externs={ref.insn: obj.externs[ref.extern] for ref in linked.externs},
    )
