"""Summaries: the parts of an object or a loader, and their sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lskel.bpf import insn as i
from lskel.bpf.attr import object_name
from lskel.bpf.digest import program_digest
from lskel.bpf.enums import AttachType, MapType, ProgType
from lskel.bpf.names import enum_name
from lskel.bpf.struct_ops import StructOps
from lskel.btf.btf import Btf
from lskel.btf.names import essential_name
from lskel.btf.types import VOID, TypeId
from lskel.cursor import ByteOrder
from lskel.describe.flags import map_flags
from lskel.describe.image import ProgramCode, ProgramsImage, read_image
from lskel.describe.records import Functions
from lskel.describe.regions import contents
from lskel.describe.requirements import all_externs
from lskel.describe.variables import GlobalVariable, type_words, variables
from lskel.errors import at
from lskel.load_phase.btf_use import needed_by
from lskel.loader.header import LightSkeleton
from lskel.loader.model import Bytes, Loader
from lskel.loader.verify import undescribed
from lskel.object.externs import DUMMY
from lskel.object.model import Extern, ExternKind, MapSpec, Object, Pinning
from lskel.trace import BtfLoad, MapCreate, MapFreeze, MapUpdate, ProgLoad, Ref, Trace


class BtfSummary(NamedTuple):
    """`size` in bytes; `types` does not count `void`.

    `needed_by` is what cannot be loaded if the kernel rejects the BTF, in words; empty for nothing.
    """

    size: int
    types: int
    needed_by: str


class SlotSummary(NamedTuple):
    """An initial element of a map: the name of the map or program at `key`."""

    key: int
    name: str


class MemberSummary(NamedTuple):
    """A member of a struct_ops variable, and the program it points to; empty for none."""

    name: str
    program: str


class StructOpsSummary(NamedTuple):
    """The kernel struct that a struct_ops map registers; members are matched by name."""

    type: str
    members: tuple[MemberSummary, ...]


class MapSummary(NamedTuple):
    """A map. Sizes in bytes; types of key and value are C types, empty if none.

    `value_size` is 0 for a struct_ops map: it is known on the target. `initial_size` is the size of
    the initial value, None for maps other than global data and arenas with variables; `frozen`:
    user space cannot change it later. `pinning` is `none`, `by_name`, or empty for a template.
    `inner` is the template of a map-in-map. `autocreate`: created by default; a loader has no other
    maps. `exclusive` is the only program that may use the map, by name, or by the hash of its code
    if the loader does not load it; empty for any.
    """

    name: str
    kernel_name: str
    section: str
    type: str
    key_size: int
    value_size: int
    max_entries: int
    flags: tuple[str, ...]
    key_type: str
    value_type: str
    numa_node: int
    map_extra: int
    pinning: str
    initial_size: int | None
    frozen: bool
    inner: MapSummary | None
    slots: tuple[SlotSummary, ...]
    variables: tuple[GlobalVariable, ...]
    autocreate: bool
    struct_ops: StructOpsSummary | None
    exclusive: str


class ProgramSummary(NamedTuple):
    """A program; `section` is without the leading ``?``, which is in `autoload`.

    `insns` are 8-byte slots, including those of the subprograms; None if the code is unknown.
    `func_info`, `line_info` and `core_relos` are numbers of records. `problem` is why lskel cannot
    load it, empty if it can.
    """

    name: str
    section: str
    kind: str
    type: str
    attach_type: str
    target: str
    sleepable: bool
    autoload: bool
    insns: int | None
    subprograms: tuple[str, ...]
    func_info: int
    line_info: int
    core_relos: int
    problem: str


class ExternSummary(NamedTuple):
    """A kernel symbol: a `kfunc`, a `ksym` (variable) or a `kconfig` value.

    `type` is a C type, empty if the source does not have it. A `weak` symbol may be missing. A
    `typeless` ksym is looked up in kallsyms, other symbols in the kernel's BTF. `programs` refer to
    it; not listed for kconfig values, which all programs share in a map. A loader has the names
    that it looks up: without a ``___flavor``.
    """

    name: str
    kind: str
    type: str
    weak: bool
    typeless: bool
    programs: tuple[str, ...]


class SectionSummary(NamedTuple):
    """A section of the ELF file; size in bytes."""

    name: str
    size: int


class LoaderSummary(NamedTuple):
    """A loader: `insns` in 8-byte slots, `blob` and `context` in bytes.

    `contents` are bytes of the blob by kind, `ops` numbers of operations by type. `compared`:
    whether its bytes are what its trace generates: `same`, `another version` (of lskel wrote it),
    or `different`; then nothing but the bytes is known. A light skeleton header has no `form`.
    """

    form: str
    insns: int
    blob: int
    context: int
    contents: dict[str, int]
    ops: dict[str, int]
    compared: str


class Summary(NamedTuple):
    """An object or a loader. A loader has no ELF sections, an object no `loader`.

    `struct_ops` are the names of such maps. `problem` is why the object cannot be loaded, whatever
    its programs. `inputs` are the numbers that the process running the loader determines on the
    target, in words.
    """

    name: str
    order: ByteOrder
    license: str | None
    btf: BtfSummary | None
    maps: tuple[MapSummary, ...]
    programs: tuple[ProgramSummary, ...]
    externs: tuple[ExternSummary, ...]
    struct_ops: tuple[str, ...]
    sections: tuple[SectionSummary, ...]
    loader: LoaderSummary | None
    problem: str
    inputs: tuple[str, ...]


def summarize(source: Object | Loader) -> Summary:
    """The parts of an object or a loader. No kernel is accessed.

    An object that lskel cannot load is summarized, too. BadInput if the BTF or the records of a
    loader are broken.
    """
    return _of_loader(source) if isinstance(source, Loader) else _of_object(source)


def _of_object(obj: Object) -> Summary:
    image = read_image(obj)
    return Summary(
        name=obj.name,
        order=obj.order,
        license=obj.license,
        btf=_btf(image.btf, needed_by(obj)),
        maps=tuple(_map(a_map, obj.btf) for a_map in obj.maps),
        programs=tuple(_program(code, image) for code in image.programs),
        externs=tuple(_externs(obj.externs, image)),
        struct_ops=tuple(a_map.name for a_map in obj.maps if a_map.struct_ops is not None),
        sections=tuple(SectionSummary(name, size) for name, size in obj.sections),
        loader=None,
        problem=image.problem,
        inputs=image.inputs,
    )


def _of_loader(source: Loader) -> Summary:
    loader = undescribed(source)
    trace = loader.trace
    image = read_image(trace)
    licenses = (op.license for op in trace.ops if isinstance(op, ProgLoad))
    needs = (op.needed_by for op in trace.ops if isinstance(op, BtfLoad))
    return Summary(
        name=trace.name,
        order=trace.order,
        license=None if loader.compared is Bytes.DIFFERENT else next(licenses, ""),
        btf=_btf(image.btf, next(needs, "")),
        maps=tuple(_traced_maps(trace, image.btf)),
        programs=tuple(_program(code, image) for code in image.programs),
        externs=tuple(_externs(all_externs(trace, image.btf), image)),
        struct_ops=tuple(trace.maps[item.slot].name for item in trace.struct_ops),
        sections=(),
        loader=LoaderSummary(
            form=loader.form.value,
            insns=i.count(loader.insns),
            blob=len(loader.blob),
            context=source.context_size,
            contents=contents(loader),
            ops=dict(Counter(type(op).__name__ for op in trace.ops)),
            compared=loader.compared.value,
        ),
        problem="",
        inputs=image.inputs,
    )


def summarize_header(name: str, skeleton: LightSkeleton) -> Summary:
    """The loader of a light skeleton header; its bytes are all that is known of maps and programs.

    BadInput if its byte order is unknown.
    """
    loader = LoaderSummary(
        form="",
        insns=i.count(skeleton.insns),
        blob=len(skeleton.blob),
        context=skeleton.context_size,
        contents={},
        ops={},
        compared=Bytes.DIFFERENT.value,
    )
    return Summary(name, skeleton.order, None, None, (), (), (), (), (), loader, "", ())


def _btf(btf: Btf | None, needed: str) -> BtfSummary | None:
    return None if btf is None else BtfSummary(len(btf.raw), len(btf) - 1, needed)


def _type(btf: Btf | None, type_id: int) -> str:
    return type_words(btf, TypeId(type_id)) if btf is not None and type_id != VOID else ""


def _map(a_map: MapSpec, btf: Btf | None) -> MapSummary:
    return _bare_map(a_map, btf)._replace(
        section=a_map.section,
        pinning=a_map.pinning.name.lower(),
        initial_size=a_map.value_size
        if a_map.is_global_data
        else len(a_map.initial or b"") or None,
        frozen=a_map.is_global_data and a_map.is_frozen,
        inner=None if a_map.inner is None else _bare_map(a_map.inner, btf),
        slots=tuple(SlotSummary(slot.key, slot.name) for slot in a_map.slots),
        autocreate=a_map.autocreate,
        struct_ops=_struct_ops(a_map.struct_ops),
        exclusive=a_map.exclusive or "",
    )


def _struct_ops(ops: StructOps | None) -> StructOpsSummary | None:
    if ops is None:
        return None
    members = (MemberSummary(member.name, member.program or "") for member in ops.members)
    return StructOpsSummary(ops.type, tuple(members))


def _traced_maps(trace: Trace, btf: Btf | None) -> Iterator[MapSummary]:
    names = {made.op: made.name for made in trace.maps}
    names |= {program.op: program.name for program in trace.programs if program.op is not None}
    struct_ops = {item.slot: item.ops for item in trace.struct_ops}
    arenas = {item.slot: len(item.initial) for item in trace.arenas if item.initial}
    updates = [op for op in trace.ops if isinstance(op, MapUpdate)]
    frozen = {op.map.op for op in trace.ops if isinstance(op, MapFreeze)}
    sizes = {op.map.op: op.size for op in updates if op.initial}
    slots: dict[int, list[SlotSummary]] = {}
    for op in updates:
        if isinstance(op.value, Ref):
            slot = SlotSummary(op.key, names.get(op.value.op, ""))
            slots.setdefault(op.map.op, []).append(slot)
    digests = {
        program_digest(load.insns, trace.order): program.name
        for slot, program in enumerate(trace.programs)
        if (load := trace.prog_load(slot)) is not None
    }
    listed: set[int] = set()
    for number, made in enumerate(trace.maps):
        create = trace.map_create(number)
        is_first = create.value_type not in listed
        listed.add(create.value_type)
        inner = trace.ops[create.inner.op] if create.inner else None
        summary = _bare_map(create, btf)
        yield summary._replace(
            # A section is listed once, even if other maps claim it.
            variables=summary.variables if is_first else (),
            section=made.section,
            pinning=(Pinning.BY_NAME if made.is_pinned else Pinning.NONE).name.lower(),
            initial_size=sizes.get(made.op, arenas.get(number)),
            frozen=made.op in frozen,
            inner=_bare_map(inner, btf) if isinstance(inner, MapCreate) else None,
            slots=tuple(slots.get(made.op, ())),
            struct_ops=_struct_ops(struct_ops.get(number)),
            exclusive=digests.get(create.exclusive, create.exclusive.hex()),
        )


def _bare_map(made: MapSpec | MapCreate, btf: Btf | None) -> MapSummary:
    """The attributes with which the map is created."""
    return MapSummary(
        name=made.name,
        kernel_name=object_name(made.name).decode(),
        section="",
        type=enum_name(MapType, made.type),
        key_size=made.key_size,
        value_size=made.value_size if isinstance(made.value_size, int) else 0,
        max_entries=made.max_entries,
        flags=map_flags(made.flags),
        key_type=_type(btf, made.key_type),
        value_type=_type(btf, made.value_type),
        numa_node=made.numa_node,
        map_extra=made.map_extra,
        pinning="",
        initial_size=None,
        frozen=False,
        inner=None,
        slots=(),
        variables=variables(btf, TypeId(made.value_type)),
        autocreate=True,
        struct_ops=None,
        exclusive="",
    )


def _program(code: ProgramCode, image: ProgramsImage) -> ProgramSummary:
    with at(f"program '{code.name}'"):
        functions = Functions(code.func_info, image.btf, image.order).names()
    return ProgramSummary(
        name=code.name,
        section=code.spec.name,
        kind=code.spec.kind,
        type=enum_name(ProgType, code.type),
        attach_type="" if code.attach_type is None else enum_name(AttachType, code.attach_type),
        target=code.spec.target,
        sleepable=code.sleepable,
        autoload=code.autoload,
        insns=i.count(code.insns) if code.insns else None,
        # The first function is the program itself.
        subprograms=functions[1:],
        func_info=len(code.func_info),
        line_info=len(code.line_info),
        core_relos=len(code.core_relos),
        problem=code.problem,
    )


def _externs(externs: Iterable[Extern], image: ProgramsImage) -> Iterator[ExternSummary]:
    users: dict[tuple[ExternKind, str], list[str]] = {}
    for code in image.programs:
        for kind, name in dict.fromkeys(
            (e.kind, essential_name(e.name)) for e in code.externs.values()
        ):
            users.setdefault((kind, name), []).append(code.name)
    for extern in externs:
        programs = users.get((extern.kind, essential_name(extern.name)), ())
        yield ExternSummary(
            extern.name,
            extern.kind.value,
            _extern_type(extern, image.btf),
            extern.is_weak,
            extern.is_typeless,
            tuple(programs),
        )


def _extern_type(extern: Extern, btf: Btf | None) -> str:
    # The BTF of kernel variables, and missing names, are replaced before the kernel gets it.
    text = "" if extern.kind is ExternKind.KSYM else _type(btf, extern.type)
    return text.replace(f" {DUMMY}", "").replace(DUMMY, "")
