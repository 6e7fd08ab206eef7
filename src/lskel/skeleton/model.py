"""The model of a collection, as data: names, classes and arguments of maps and programs.

`python` writes it as a module, `live` creates the collection itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from lskel.bpf.enums import MapType, ProgType
from lskel.bpf.flags import MapFlag
from lskel.bpf.kconfig import KconfigVar
from lskel.bpf.struct_ops import StructOps
from lskel.btf import types as t
from lskel.btf.last_array import LastArray
from lskel.btf.sections import last_array
from lskel.btf.types import TypeId
from lskel.catalog.map_types import BUFFERS, map_type_row
from lskel.errors import BadInput
from lskel.load_phase.events import types_of, usual_type
from lskel.object.sections import parse_section
from lskel.runtime.attach.kinds import class_path as program_class
from lskel.runtime.collection import Collection, Links, Maps, Programs
from lskel.runtime.inputs import InputOf
from lskel.runtime.maps.base import MapDefinition
from lskel.runtime.maps.kinds import class_path
from lskel.runtime.program import ProgramDefinition
from lskel.skeleton.python_source import attribute, identifier
from lskel.skeleton.source import Scope, Source
from lskel.skeleton.types import TypeDeclarations, ValueType
from lskel.trace import GlobalData, Input, MapCreate, Trace, inputs_of

_USER_MAPS = ".maps"
# A program that is only loaded.
PLAIN_PROGRAM = "lskel.runtime.program:Program"
# Attributes of the classes.
_RESERVED = {cls: frozenset(dir(cls)) for cls in (Maps, Programs, Links, Collection)}
# Keys and values without BTF of these sizes are numbers.
RAW_NUMBERS = (1, 2, 4, 8)


class Raw(NamedTuple):
    """Untyped bytes; a number if `size` is that of one."""

    size: int


class SectionClass(NamedTuple):
    """The class of the variables of a section of `size` bytes."""

    name: str
    size: int

    @property
    def words(self) -> str:
        """The suffix of the class name."""
        return "".join(map(str.title, identifier(variables_name(self.name)).split("_")))


class Late(NamedTuple):
    """Whether the loader has no value for a section: many zeros."""

    late: bool


class Resizable(NamedTuple):
    """The array at the end of a section."""

    array: LastArray


class Initial(NamedTuple):
    """`content`, zero-padded to `size` bytes."""

    content: bytes
    size: int


class ConfigValues(NamedTuple):
    """The kconfig values in a map."""

    variables: tuple[KconfigVar, ...]


class ByLink(NamedTuple):
    """Whether struct_ops are registered by a link."""

    by_link: bool


class InnerModel(NamedTuple):
    """The inner maps of a map of maps: the path of their class, and its arguments.

    `btf` has the BTF ids of their key and value types.
    """

    path: str
    arguments: tuple[ValueType | Raw, ...]
    btf: tuple[int, int]


Argument = (
    InnerModel
    | ValueType
    | Raw
    | SectionClass
    | Initial
    | Late
    | Resizable
    | int
    | ConfigValues
    | StructOps
    | ByLink
)


@dataclass(frozen=True, slots=True)
class MapModel:
    """A map: its attribute, the path of its class, and constructor arguments.

    `doc` describes the variables in it, if any.
    """

    attr: Source
    path: str
    definition: MapDefinition
    arguments: tuple[Argument, ...] = ()
    doc: str = ""

    @property
    def section(self) -> SectionClass | None:
        """The variables in it."""
        return next((arg for arg in self.arguments if isinstance(arg, SectionClass)), None)


@dataclass(frozen=True, slots=True)
class ProgramModel:
    """A program: its attribute, and the path of its class."""

    attr: Source
    path: str
    definition: ProgramDefinition


class Model:
    """The maps, programs, links and variables of a trace.

    `links` are the names of attachable programs and maps, by the attribute of their
    link; `variables` are the maps of variables, by the attribute of the collection.
    """

    def __init__(self, trace: Trace, taken: Iterable[str] = ()) -> None:
        self.trace = trace
        self._btf = types_of(trace)
        self.types = TypeDeclarations(self._btf, taken) if self._btf is not None else None
        self._events = {event.slot: TypeId(event.type) for event in trace.events}
        self._declarations: dict[TypeId, dict[str, TypeId]] = {}
        self._definitions = dict(self._map_definitions())
        self._map_names = Scope()
        self.maps = tuple(self._maps())
        names = Scope()
        self.programs = tuple(self._program(slot, names) for slot in range(len(trace.programs)))
        self.inputs = tuple(self._inputs())

    # -- maps -----------------------------------------------------------------------------------

    def _maps(self) -> Iterator[MapModel]:
        trace = self.trace
        ops = {item.slot: item.ops for item in trace.struct_ops}
        for slot, made in enumerate(trace.maps):
            create = trace.map_create(slot)
            data = trace.global_data(slot)
            definition = _definition(trace, create, pinned=made.is_pinned)
            if slot in ops:
                yield self._special(
                    made.name,
                    "struct_ops:StructOpsMap",
                    definition,
                    (ops[slot], ByLink(bool(create.flags & MapFlag.LINK))),
                )
            elif create.type == MapType.ARENA:
                yield self._arena(made.name, definition, data)
            elif data is not None:
                yield self._data(slot, definition, data)
            else:
                yield self._user_map(slot, create, definition)

    def _attr(self, name: str) -> Source:
        """A unique attribute for a map of this name."""
        return self._map_names.claim(attribute(name, _RESERVED[Maps]))

    def _special(
        self,
        name: str,
        cls: str,
        definition: MapDefinition,
        arguments: tuple[Argument, ...],
        doc: str = "",
    ) -> MapModel:
        path = f"lskel.runtime.maps.{cls}"
        return MapModel(self._attr(name), path, definition, arguments, doc)

    def _data(self, slot: int, definition: MapDefinition, data: GlobalData) -> MapModel:
        kconfig, name = self.trace.kconfig, variables_name(data.section)
        if kconfig is not None and kconfig.slot == slot:
            variables = SectionClass(data.section, kconfig.size)
            arguments = (variables, kconfig.size, ConfigValues(kconfig.vars))
            doc = "Kconfig values."
            return self._special(name, "kconfig:KconfigMap", definition, arguments, doc)
        variables = SectionClass(data.section, data.size)
        initial = Initial(data.content, len(data.content))
        named: list[Argument] = [Late(True)] if data.is_late else []
        value_type = TypeId(self.trace.map_create(slot).value_type)
        if self._btf is not None and (array := last_array(self._btf, value_type)) is not None:
            named.append(Resizable(array))
        doc = f"The variables of {data.section}."
        return self._special(name, "data:DataMap", definition, (variables, initial, *named), doc)

    def _arena(self, name: str, definition: MapDefinition, data: GlobalData | None) -> MapModel:
        arguments: tuple[Argument, ...] = ()
        if data is not None:
            initial = Initial(data.content, data.size)
            arguments = (SectionClass(data.section, data.size), initial)
        doc = f"The variables of the arena {name}."
        return self._special(name, "arena:ArenaMap", definition, arguments, doc)

    def _user_map(self, slot: int, create: MapCreate, definition: MapDefinition) -> MapModel:
        name = self.trace.maps[slot].name
        if create.type in BUFFERS:
            event = self._event(slot)
            arguments: tuple[Argument, ...] = () if event is None else (event,)
        else:
            arguments = (*self._element_types(name, create), *self._inner(create))
        return MapModel(self._attr(name), class_path(create.type), definition, arguments)

    def _inner(self, outer: MapCreate) -> Iterator[InnerModel]:
        """The inner maps of a map of maps."""
        inner = None if outer.inner is None else self.trace.ops[outer.inner.op]
        if isinstance(inner, MapCreate):
            is_buffer = inner.type in BUFFERS
            types = () if is_buffer else tuple(self._element_types(inner.name, inner))
            btf = (inner.key_type, inner.value_type)
            yield InnerModel(class_path(inner.type), types, btf)

    def _element_types(self, name: str, create: MapCreate) -> Iterator[ValueType | Raw]:
        """The type arguments of a map class: the types of its keys and values."""
        sizes = {"key": create.key_size, "value": create.value_size}
        ids = {"key": create.key_type, "value": create.value_type}
        row = map_type_row(create.type)
        for parameter in row.takes if row is not None else ():
            # For some map types, only the object has the types, not MAP_CREATE.
            type_id = TypeId(ids[parameter]) or self._declared(name, parameter)
            size = sizes[parameter]
            assert isinstance(size, int)
            known = self._btf is not None and type_id and self._btf.size_of(type_id) == size
            yield self.types.type(type_id) if known and self.types is not None else Raw(size)

    def _declared(self, name: str, member: str) -> TypeId:
        """The type of key or value in a map definition; void if none."""
        definition = self._definitions.get(name, t.VOID)
        if definition not in self._declarations:
            self._declarations[definition] = dict(self._pointers(definition))
        return self._declarations[definition].get(member, t.VOID)

    def _map_definitions(self) -> Iterator[tuple[str, TypeId]]:
        """BTF-defined maps and their structs; the first map of a name comes last."""
        btf = self._btf
        section = btf.find(_USER_MAPS, t.Datasec) if btf is not None else None
        if btf is None or section is None:
            return
        for info in reversed(btf.get(section, t.Datasec).vars):
            var = btf[info.type]
            if isinstance(var, t.Var):
                yield var.name, btf.resolve(var.type)

    def _pointers(self, definition: TypeId) -> Iterator[tuple[str, TypeId]]:
        """The pointer members of a struct, and the types that they point to."""
        struct = None if self._btf is None else self._btf[definition]
        for member in reversed(struct.members) if isinstance(struct, t.StructType) else ():
            assert self._btf is not None
            pointer = self._btf[self._btf.resolve(member.type)]
            if isinstance(pointer, t.Ptr):
                yield member.name, pointer.type

    def _event(self, slot: int) -> ValueType | None:
        """The type of a buffer's events: the chosen one, or the usual one."""
        chosen = self._events.get(slot)
        found = chosen or usual_type(self._btf, self.trace.maps[slot].name)
        if found is None or self.types is None:
            return None
        try:
            return self.types.type(found)
        except BadInput:  # a type with that name may have no values
            if chosen:
                raise
            return None

    # -- programs -------------------------------------------------------------------------------

    def _program(self, slot: int, names: Scope) -> ProgramModel:
        made = self.trace.programs[slot]
        op = self.trace.prog_load(slot)
        spec = parse_section(made.section)
        definition = ProgramDefinition(
            made.name,
            spec.kind or spec.name,
            spec.target,
            int(ProgType.UNSPEC if op is None else op.type),
            0 if op is None else int(op.attach_type),
            made.autoload,
            op.flags if op is not None else 0,
        )
        attr = names.claim(attribute(made.name, _RESERVED[Programs]))
        return ProgramModel(attr, program_path(self.trace, slot), definition)

    def _inputs(self) -> Iterator[InputOf]:
        users: dict[Input, dict[int, None]] = {}
        for slot, value in self._used_inputs():
            users.setdefault(value, {})[slot] = None
        for number, kind in enumerate(self.trace.inputs):
            yield InputOf(kind, tuple(users.get(Input(number), ())))

    def _used_inputs(self) -> Iterator[tuple[int, Input]]:
        """The inputs of programs, and of what they find in the kernel, by the programs' slots."""
        ops = self.trace.ops
        for slot in range(len(self.trace.programs)):
            op = self.trace.prog_load(slot)
            if op is not None:
                yield from ((slot, value) for value in inputs_of(op))
                for find in dict.fromkeys(extern.find.op for extern in op.externs):
                    yield from ((slot, value) for value in inputs_of(ops[find]))

    # -- the collection -------------------------------------------------------------------------

    def variables(self) -> dict[Source, MapModel]:
        """The maps of variables, by the attribute of the collection."""
        names = Scope()
        reserved = _RESERVED[Collection]
        return {names.claim(attribute(m.attr, reserved)): m for m in self.maps if m.section}

    def links(self) -> dict[Source, str]:
        """The names of attachable programs and maps, by the attribute of their link."""
        trace, names = self.trace, Scope()
        found = [(program.attr, program.definition.name) for program in self.programs]
        found += [(self.maps[i.slot].attr, trace.maps[i.slot].name) for i in trace.struct_ops]
        return {names.claim(attribute(attr, _RESERVED[Links])): name for attr, name in found}


def program_path(trace: Trace, slot: int) -> str:
    """The path of a program's class."""
    op = trace.prog_load(slot)
    kind = parse_section(trace.programs[slot].section).kind
    if op is None:
        return PLAIN_PROGRAM
    return program_class(kind, op.type, op.attach_type) or PLAIN_PROGRAM


def variables_name(section: str) -> str:
    """The attribute for the variables of a section: "rodata", "data_mine"."""
    return section.removeprefix(".").replace(".", "_")


def _definition(trace: Trace, create: MapCreate, *, pinned: bool = False) -> MapDefinition:
    size = create.value_size if not isinstance(create.value_size, Input) else 0
    inner = trace.ops[create.inner.op] if create.inner is not None else None
    return MapDefinition(
        create.name,
        int(create.type),
        create.key_size,
        size,
        create.max_entries,
        create.flags,
        create.map_extra,
        pinned,
        create.numa_node,
        _definition(trace, inner) if isinstance(inner, MapCreate) else None,
    )
