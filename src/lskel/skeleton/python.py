"""The Python skeleton: a module with a class for the object, around its loader."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from importlib import import_module

from lskel._version import __version__
from lskel.bpf.enums import MapType, ProgType
from lskel.bpf.flags import MapFlag
from lskel.bpf.names import enum_name
from lskel.bpf.struct_ops import StructOps
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.types import TypeId
from lskel.catalog.map_types import BUFFERS, map_type_row
from lskel.describe.phrases import phrase
from lskel.errors import NotFound, UsageError
from lskel.loader.model import Loader
from lskel.object.sections import parse_section
from lskel.runtime.attach.kinds import class_path as program_class
from lskel.runtime.maps.kinds import class_path
from lskel.skeleton.embed import closure, is_package
from lskel.skeleton.python_source import (
    attribute,
    docstring,
    dotted,
    identifier,
    literal,
    packed,
    tuple_of,
    verbatim,
)
from lskel.skeleton.python_types import TypeWriter
from lskel.skeleton.source import Scope, Source, join, source, template
from lskel.trace import (
    Input,
    InputKind,
    MapCreate,
    MapUpdate,
    MemberIndex,
    Trace,
    TypeSize,
)

_USER_MAPS = ".maps"
_ARENA_DATA = ".addr_space.1"
_EVENT_TYPE = "event"
_ATTACH = "lskel.runtime.attach."
# A program that is loaded only.
_PLAIN_PROGRAM = "lskel.runtime.program:Program"
# Longer values of variables are compressed.
_LINE = 92


@dataclass(frozen=True, slots=True)
class _Map:
    """A map in the text: its attribute, type, and the expression that makes it.

    `section` is the class of the variables in it, where there are any, `doc` says what they are.
    """

    attr: Source
    annotation: Source
    create: Source
    section: Source | None = None
    doc: str = ""


@dataclass(frozen=True, slots=True)
class _Program:
    attr: Source
    cls: Source
    create: Source


def generate_python(
    loader: Loader,
    name: str | None = None,
    *,
    embed: bool = True,
    event_types: Mapping[str, str] | None = None,
) -> str:
    """The text of a module that loads and uses what the loader makes.

    `name` names the class: CamelCase of the object's name where it is None. With `embed` the module
    carries lskel's runtime and needs the standard library only; without, it imports lskel.
    `event_types` names, by ring or perf buffer, the BTF type of its events.

    UsageError where `name` is no identifier; NotFound where a map or type that `event_types` names
    is not there.
    """
    return _Generator(loader, name, event_types or {}).text(embed=embed)


class _Generator:
    def __init__(self, loader: Loader, name: str | None, event_types: Mapping[str, str]) -> None:
        self._loader = loader
        self._trace = loader.trace
        taken = _taken(loader.trace)
        self._class = _class_name(loader.trace.name, name, taken)
        taken |= _classes(self._class)
        self._btf = Btf(loader.trace.btf) if loader.trace.btf is not None else None
        self._types = TypeWriter(self._btf, taken) if self._btf is not None else None
        self._events = dict(event_types)
        self._imports: dict[str, set[str]] = {}
        self._exported = {self._class, *_ERRORS}
        self._map_names = Scope()
        self._program_names = Scope()
        self._definitions = dict(self._map_definitions())
        self._declarations: dict[TypeId, dict[str, TypeId]] = {}

    def text(self, *, embed: bool) -> str:
        """The module."""
        trace, loader = self._trace, self._loader
        for module, names in _ALWAYS.items():
            self._import(module, *names)
        maps = list(self._maps())
        if self._events:
            raise NotFound(f"there is no ring or perf buffer '{next(iter(self._events))}'")
        self._import_events()
        programs = [self._program(slot) for slot in range(len(trace.programs))]
        types = self._types
        if types is not None:
            self._import("runtime.values", *types.imports())
        inputs = [self._input(kind) for kind in trace.inputs]
        properties = self._properties(maps)
        modules = sorted(self._imports)
        texts = closure(modules) if embed else {}
        digest = sha256("".join(texts.values()).encode()).hexdigest()[:12]
        data = {source("_INSNS"): loader.insns, source("_BLOB"): loader.blob}
        if loader.btf:
            data |= {source("_BTF"): loader.btf, source("_FUNC_INFO"): loader.func_info}
        return template("skeleton.py.j2", _FILTERS).render(
            version=__version__,
            name=trace.name,
            cls=self._class,
            example=[f"skel.{attr}.VARIABLE = ..." for attr in properties][:1],
            summary=self._summary(maps, programs),
            texts=texts,
            packages=tuple(name for name in texts if is_package(name)),
            root=identifier(f"_lskel_{digest}"),
            imports={dotted(name): _listed(self._imports[name]) for name in modules},
            exported=sorted(self._exported),
            types=types.source() if types is not None else [],
            has_enums=types is not None and types.has_enums,
            maps=maps,
            programs=programs,
            links=self._links(maps, programs),
            properties=properties,
            order=trace.order,
            btf=bool(loader.btf),
            status=loader.status,
            calls=[phrase(trace, op) for op in trace.ops],
            inputs=inputs,
            loader_links=tuple(trace.programs[link.slot].name for link in trace.links),
            data=data,
        )

    def _import(self, module: str, *names: str) -> None:
        if names:
            self._imports.setdefault(module, set()).update(names)

    def _class_of(self, path: str) -> Source:
        """Import the class of a path "lskel.module:Class"; its name."""
        module, _, name = path.partition(":")
        self._import(module.removeprefix("lskel."), name)
        return identifier(name)

    # -- maps -----------------------------------------------------------------------------------

    def _maps(self) -> Iterator[_Map]:
        trace = self._trace
        arenas = {arena.slot: arena.initial for arena in trace.arenas}
        ops = {item.slot: item.ops for item in trace.struct_ops}
        for slot, made in enumerate(trace.maps):
            create = trace.map_create(slot)
            number = trace.initial_value(slot)
            definition = _definition(create, pinned=made.is_pinned)
            if slot in ops:
                yield self._struct_ops(made.name, create, definition, ops[slot])
            elif slot in arenas:
                yield self._arena(made.name, definition, arenas[slot])
            elif number is not None and trace.kconfig is not None and trace.kconfig.slot == slot:
                yield self._kconfig(made.section, definition)
            elif number is not None:
                write = trace.ops[number]
                assert isinstance(write, MapUpdate) and isinstance(write.value, bytes)
                yield self._data(made.section, definition, write)
            else:
                yield self._user_map(made.name, create, definition)

    def _attr(self, name: str) -> Source:
        """The attribute of a map of this name, which no other map has."""
        return self._map_names.claim(attribute(name, _NAMESPACE))

    def _struct_ops(self, name: str, create: MapCreate, definition: Source, ops: StructOps) -> _Map:
        cls = self._class_of("lskel.runtime.maps.struct_ops:StructOpsMap")
        self._import("bpf.struct_ops", "Member", "StructOps")
        members = tuple_of(
            source("Member(name={}, value={}, is_function={}, program={})", *map(literal, member))
            for member in ops.members
        )
        made = source("StructOps(type={}, members={})", literal(ops.type), members)
        by_link = literal(bool(create.flags & MapFlag.LINK))
        expression = source("{}({}, {}, by_link={})", cls, definition, made, by_link)
        return _Map(self._attr(name), cls, expression)

    def _data(self, section: str, definition: Source, write: MapUpdate) -> _Map:
        assert isinstance(write.value, bytes)
        cls = self._class_of("lskel.runtime.maps.data:DataMap")
        doc = f"The variables of {section}."
        return self._variables(
            self._attr(_variables_name(section)),
            cls,
            definition,
            self._section(section, write.size),
            _bytes(write.value, write.size),
            doc=doc,
        )

    def _kconfig(self, section: str, definition: Source) -> _Map:
        kconfig = self._trace.kconfig
        assert kconfig is not None
        cls = self._class_of("lskel.runtime.maps.kconfig:KconfigMap")
        self._import("bpf.kconfig", "KconfigType", "KconfigVar")
        wanted = tuple_of(
            source(
                "KconfigVar({}, KconfigType.{}, {}, {}, {}, {})",
                literal(var.name),
                identifier(var.type.name),
                *map(literal, (var.size, var.is_signed, var.offset, var.is_weak)),
            )
            for var in kconfig.vars
        )
        return self._variables(
            self._attr(_variables_name(section)),
            cls,
            definition,
            self._section(section, kconfig.size),
            literal(kconfig.size),
            wanted,
            doc="Values of the kernel configuration.",
        )

    def _arena(self, name: str, definition: Source, initial: bytes) -> _Map:
        cls = self._class_of("lskel.runtime.maps.arena:ArenaMap")
        self._import("runtime.values", "Struct")
        if not initial:
            struct = source("Struct")
            return _Map(
                self._attr(name), source("{}[{}]", cls, struct), source("{}({})", cls, definition)
            )
        return self._variables(
            self._attr(name),
            cls,
            definition,
            self._section(_ARENA_DATA, len(initial)),
            _bytes(initial, len(initial)),
            doc=f"The variables of the arena {name}.",
        )

    def _variables(
        self,
        attr: Source,
        cls: Source,
        definition: Source,
        section: Source,
        *arguments: Source,
        doc: str,
    ) -> _Map:
        """A map of variables: those of the class `section`."""
        return _Map(
            attr,
            source("{}[{}]", cls, section),
            source("{}({})", cls, join(", ", (definition, section, *arguments))),
            section,
            doc,
        )

    def _section(self, section: str, size: int) -> Source:
        """The name of the class for a section's variables; plain `Struct` where there is no BTF."""
        if self._types is None:
            self._import("runtime.values", "Struct")
            return source("Struct")
        parts = identifier(_variables_name(section)).split("_")
        return self._types.section(section, size, self._class + "".join(map(str.title, parts)))

    def _user_map(self, name: str, create: MapCreate, definition: Source) -> _Map:
        cls = self._class_of(class_path(create.type))
        if create.type in BUFFERS:
            return self._buffer(name, cls, definition)
        sizes = {"key": create.key_size, "value": create.value_size}
        ids = {"key": create.key_type, "value": create.value_type}
        arguments, annotations = [definition], []
        row = map_type_row(create.type)
        for parameter in row.takes if row is not None else ():
            # The kernel is not told the types of some maps; the object knows them.
            type_id = TypeId(ids[parameter]) or self._declared(name, parameter)
            size = sizes[parameter]
            assert isinstance(size, int)
            known = self._types is not None and type_id
            if known and self._btf is not None and self._btf.size_of(type_id) == size:
                arguments.append(self._expression(type_id))
                annotations.append(self._annotation(type_id))
            else:
                arguments.append(self._raw(size))
                annotations.append(source("int") if size in _RAW_INTS else source("bytes"))
        annotation = source("{}[{}]", cls, join(", ", annotations)) if annotations else cls
        return _Map(self._attr(name), annotation, source("{}({})", cls, join(", ", arguments)))

    def _declared(self, name: str, member: str) -> TypeId:
        """The type that a map's definition gives for its key or value; void where it gives none."""
        definition = self._definitions.get(name, t.VOID)
        if definition not in self._declarations:
            self._declarations[definition] = dict(self._pointers(definition))
        return self._declarations[definition].get(member, t.VOID)

    def _map_definitions(self) -> Iterator[tuple[str, TypeId]]:
        """The maps that are defined by BTF, the first of a name last, and their structs."""
        btf = self._btf
        section = btf.find(_USER_MAPS, t.Datasec) if btf is not None else None
        if btf is None or section is None:
            return
        for info in reversed(btf.get(section, t.Datasec).vars):
            var = btf[info.type]
            if isinstance(var, t.Var):
                yield var.name, btf.resolve(var.type)

    def _pointers(self, definition: TypeId) -> Iterator[tuple[str, TypeId]]:
        """The members of a struct that are pointers, and what they point to."""
        struct = None if self._btf is None else self._btf[definition]
        for member in reversed(struct.members) if isinstance(struct, t.Struct) else ():
            assert self._btf is not None
            pointer = self._btf[self._btf.resolve(member.type)]
            if isinstance(pointer, t.Ptr):
                yield member.name, pointer.type

    def _buffer(self, name: str, cls: Source, definition: Source) -> _Map:
        event = self._event(name)
        if event is None:
            return _Map(
                self._attr(name), source("{}[bytes]", cls), source("{}({})", cls, definition)
            )
        create = source("{}({}, {})", cls, definition, self._expression(event))
        return _Map(self._attr(name), source("{}[{}]", cls, self._annotation(event)), create)

    def _import_events(self) -> None:
        """What reads several buffers together, where there are several."""
        trace = self._trace
        types = [trace.map_create(slot).type for slot in range(len(trace.maps))]
        if sum(map_type in BUFFERS for map_type in types) > 1:
            self._import("runtime.events", "Events")
            self._exported.add("Events")

    def _raw(self, size: int) -> Source:
        if size in _RAW_INTS:
            number = identifier(f"u{8 * size}")
            self._import("runtime.values", number)
            return number
        self._import("runtime.values", "raw")
        return source("raw({})", size)

    def _expression(self, type_id: TypeId) -> Source:
        assert self._types is not None
        return self._types.type_expression(type_id)

    def _annotation(self, type_id: TypeId) -> Source:
        assert self._types is not None
        return self._types.annotation(type_id)

    def _event(self, map_name: str) -> TypeId | None:
        """The type of a buffer's events: as given, or a struct of the map's name or "event"."""
        given = self._events.pop(map_name, None)
        names = [given] if given else [map_name, map_name.removesuffix("s"), _EVENT_TYPE]
        for name in names:
            found = self._find(name.removeprefix("struct ").strip())
            if found is not None:
                return found
        if given:
            raise NotFound(f"BTF has no type '{given}' for events of map '{map_name}'")
        return None

    def _find(self, name: str) -> TypeId | None:
        if self._btf is None:
            return None
        kinds = (t.Struct, t.Union, t.Typedef, t.Enum, t.Int)
        found = (self._btf.find(name, kind) for kind in kinds)
        return next((type_id for type_id in found if type_id is not None), None)

    # -- programs -------------------------------------------------------------------------------

    def _program(self, slot: int) -> _Program:
        made = self._trace.programs[slot]
        op = self._trace.prog_load(slot)
        spec = parse_section(made.section)
        prog_type = op.type if op is not None else ProgType.UNSPEC
        attach_type = op.expected_attach_type if op is not None else 0
        number = attach_type if isinstance(attach_type, int) else 0
        path = _program_path(self._trace, slot)
        cls = self._class_of(path)
        for module, enum in _enums(path.partition(":")[0]):
            self._import(module, enum)
            self._exported.add(enum)
        definition = source(
            "ProgramDefinition({}, {}, {}, {}, {}{})",
            *map(literal, (made.name, spec.kind or spec.name, spec.target)),
            *(int(prog_type), int(number)),
            source("") if made.autoload else source(", autoload=False"),
        )
        attr = self._program_names.claim(attribute(made.name, _NAMESPACE))
        return _Program(attr, cls, source("{}({})", cls, definition))

    def _input(self, kind: InputKind) -> Source:
        trace = self._trace
        cls = self._class_of(f"lskel.runtime.inputs:{type(kind).__name__}")
        arguments: tuple[str | int | tuple[int, ...], ...]
        if isinstance(kind, TypeSize):
            arguments = (kind.type,)
        elif isinstance(kind, MemberIndex):
            users = tuple(self._users(Input(trace.inputs.index(kind))))
            arguments = (kind.type, kind.member, users)
        else:
            spec = parse_section(trace.programs[kind.slot].section)
            prefix, number = spec.btf_target or ("", 0)
            arguments = (kind.slot, prefix, int(number), spec.prog_type == ProgType.EXT)
        return source("{}({})", cls, join(", ", [literal(item) for item in arguments]))

    def _users(self, value: Input) -> Iterator[int]:
        """The programs that are loaded for a member of this number."""
        for slot in range(len(self._trace.programs)):
            op = self._trace.prog_load(slot)
            if op is not None and op.expected_attach_type == value:
                yield slot

    # -- the skeleton ---------------------------------------------------------------------------

    def _properties(self, maps: list[_Map]) -> dict[Source, _Map]:
        """The maps of variables, by the attribute of the skeleton."""
        names = Scope()
        return {names.claim(attribute(m.attr, _SKELETON)): m for m in maps if m.section is not None}

    def _links(self, maps: list[_Map], programs: list[_Program]) -> dict[Source, str]:
        """The names of what can be attached, by the attribute of their link."""
        trace, names = self._trace, Scope()
        found = [(p.attr, made.name) for p, made in zip(programs, trace.programs, strict=True)]
        found += [(maps[item.slot].attr, trace.maps[item.slot].name) for item in trace.struct_ops]
        return {names.claim(attribute(attr, _LINKS)): name for attr, name in found}

    def _summary(self, maps: list[_Map], programs: list[_Program]) -> list[tuple[str, list[str]]]:
        trace = self._trace
        rows = [
            f"{m.attr}: {enum_name(MapType, trace.map_create(slot).type)}"
            for slot, m in enumerate(maps)
        ]
        kinds = [f"{p.attr}: {trace.programs[n].section}" for n, p in enumerate(programs)]
        return [("maps", rows), ("progs", kinds)]


_FILTERS: dict[str, Callable[..., Source]] = {
    "docstring": docstring,
    "literal": literal,
    "packed": packed,
    "verbatim": verbatim,
}
# What users of a skeleton may want to catch.
_ERRORS = ("LskelError", "NoPermission", "NotFound", "NotSupported", "ReplayError", "UsageError")
# What every skeleton imports.
_ALWAYS = {
    "runtime.skeleton": ("Image", "Links", "Maps", "Programs", "Skeleton"),
    "runtime.maps.base": ("MapDefinition",),
    "runtime.program": ("ProgramDefinition",),
    "errors": _ERRORS,
}
# And what some do, besides the classes of maps and programs.
_SOMETIMES = (
    *("ArenaMap", "DataMap", "KconfigMap", "Link", "StructOpsMap", "raw"),
    *("AttachBtfId", "AttachFd", "MemberIndex", "TypeSize"),
    *("KconfigType", "KconfigVar", "Member", "StructOps"),
    *("a2b_base64", "decompress", "sys", "Events"),
)
# What the template defines.
_OWN = (
    *("TYPE_CHECKING", "annotations", "IntEnum", "_Importer", "_PACKAGES", "_ROOT", "_RUNTIME"),
    *("_maps", "_programs", "_links", "_unpacked", "_image"),
    *("_BLOB", "_BTF", "_CALLS", "_FUNC_INFO", "_INSNS"),
)
# Attributes that the runtime's classes have already: Maps and Programs, Links, and Skeleton.
_NAMESPACE = frozenset(("_kind", "_unknown"))
_LINKS = frozenset(("_links", "_owners", "add", "close", "has"))
_SKELETON = frozenset(
    (
        *("attach", "close", "detach", "load", "loaded", "links", "maps", "pin_root", "progs"),
        "trust_pins",
        *("_SETTABLE", "_check_targets", "_closed", "_context", "_failure", "_given", "_image"),
        *("_loaded", "_log", "_pin", "_run", "_take", "_wanted"),
    )
)
# Sizes of keys and values without BTF that are taken for numbers.
_RAW_INTS = (1, 2, 4, 8)


def _definition(create: MapCreate, *, pinned: bool) -> Source:
    size = create.value_size if not isinstance(create.value_size, Input) else 0
    numbers = (int(create.type), create.key_size, size, create.max_entries)
    arguments = [literal(create.name), *(literal(number) for number in numbers)]
    for name, value in (
        (source("flags"), create.flags),
        (source("map_extra"), create.map_extra),
    ):
        if value:
            arguments.append(source("{}={:#x}", name, value))
    if pinned:
        arguments.append(source("pinned=True"))
    return source("MapDefinition({})", join(", ", arguments))


def _taken(trace: Trace) -> set[str]:
    """Names that a module of the object imports, or may."""
    maps = (class_path(trace.map_create(slot).type) for slot in range(len(trace.maps)))
    programs = [_program_path(trace, slot) for slot in range(len(trace.programs))]
    classes = {path.partition(":")[2] for path in (*maps, *programs)}
    classes |= {name for path in programs for _, name in _enums(path.partition(":")[0])}
    fixed = {name for names in _ALWAYS.values() for name in names}
    return classes | fixed | {*_SOMETIMES, *_OWN, *dir(builtins)}


def _program_path(trace: Trace, slot: int) -> str:
    """The path of a program's class."""
    op = trace.prog_load(slot)
    kind = parse_section(trace.programs[slot].section).kind
    if op is None:
        return _PLAIN_PROGRAM
    attach_type = op.expected_attach_type
    number = attach_type if isinstance(attach_type, int) else 0
    return program_class(kind, op.type, number) or _PLAIN_PROGRAM


def _enums(module: str) -> Iterator[tuple[str, str]]:
    """The enums that a program's `attach` takes: those in its module, and where they come from."""
    for name, value in vars(import_module(module)).items():
        is_enum = isinstance(value, type) and issubclass(value, Enum)
        if is_enum and value.__module__.startswith(_ATTACH):
            yield value.__module__.removeprefix("lskel."), name


def _class_name(name: str, given: str | None, taken: set[str]) -> Source:
    if given is not None:
        if given != identifier(given) or _classes(given) & taken:
            raise UsageError(f"'{given}' cannot name a class, or is the runtime's")
        return identifier(given)
    parts = re.split(r"[^0-9A-Za-z]+", name)
    made = "".join(part[:1].upper() + part[1:] for part in parts if part)
    is_free = made == identifier(made) and not _classes(made) & taken
    return identifier(made if is_free else f"Bpf{made}")


def _classes(name: str) -> set[str]:
    """The classes of a skeleton of this name."""
    return {name + part for part in ("", "Maps", "Programs", "Links")}


def _variables_name(section: str) -> str:
    return section.removeprefix(".").replace(".", "_")


def _listed(names: set[str]) -> Source:
    return join(", ", map(identifier, sorted(names)))


def _bytes(value: bytes, size: int) -> Source:
    """An expression for `value`, with zeros up to `size`."""
    stripped = value.rstrip(b"\0")
    if not stripped:
        return source("bytes({})", size)
    is_long = len(stripped) > _LINE
    text = source("_unpacked({})", packed(stripped)) if is_long else literal(stripped)
    return source("{}.ljust({}, b'\\0')", text, size) if len(stripped) < size else text
