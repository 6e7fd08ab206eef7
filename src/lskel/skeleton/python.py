"""The Python skeleton: a module with a class for the object, around its loader."""

from __future__ import annotations

import builtins
import json
import keyword
import re
import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from hashlib import sha256
from importlib import import_module
from textwrap import wrap
from typing import TYPE_CHECKING

from lskel._version import __version__
from lskel.bpf.enums import MapType, ProgType
from lskel.bpf.flags import MapFlag
from lskel.bpf.names import enum_name
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
from lskel.skeleton.embed import QUOTES, closure, is_package
from lskel.skeleton.python_types import TypeWriter
from lskel.trace import (
    Input,
    InputKind,
    MapCreate,
    MapUpdate,
    MemberIndex,
    Trace,
    TypeSize,
)

if TYPE_CHECKING:
    import jinja2

_USER_MAPS = ".maps"
_ARENA_DATA = ".addr_space.1"
_EVENT_TYPE = "event"
_ATTACH = "lskel.runtime.attach."
# A program that is loaded only.
_PLAIN_PROGRAM = "lskel.runtime.program:Program"
_LINE = 92


@dataclass(frozen=True, slots=True)
class _Map:
    """A map in the text: its attribute, type, and the expression that makes it."""

    attr: str
    annotation: str
    create: str
    section: str = ""
    doc: str = ""


@dataclass(frozen=True, slots=True)
class _Program:
    attr: str
    cls: str
    create: str


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
        taken |= {self._class + part for part in ("", *_PARTS)}
        self._btf = Btf(loader.trace.btf) if loader.trace.btf is not None else None
        self._types = TypeWriter(self._btf, taken) if self._btf is not None else None
        self._events = dict(event_types)
        self._imports: dict[str, set[str]] = {}
        self._exported = {self._class, *_ERRORS}

    def text(self, *, embed: bool) -> str:
        """The module."""
        trace, loader = self._trace, self._loader
        for module, names in _ALWAYS.items():
            self._import(module, *names)
        maps = _unique(self._maps())
        if self._events:
            raise NotFound(f"there is no ring or perf buffer '{next(iter(self._events))}'")
        self._import_events()
        programs = [self._program(slot) for slot in range(len(trace.programs))]
        types = self._types.source() if self._types is not None else []
        if self._types is not None:
            self._import("runtime.values", *self._types.imports())
        inputs = [self._input(kind) for kind in trace.inputs]
        links = [p.attr for p in programs]
        links += [maps[item.slot].attr for item in trace.struct_ops]
        modules = sorted(self._imports)
        texts = closure(modules) if embed else {}
        if any(QUOTES in text for text in texts.values()):
            raise AssertionError("the runtime's text has the quotes that it is to stand in")
        digest = sha256("".join(texts.values()).encode()).hexdigest()[:12]
        data = {"_INSNS": loader.insns, "_BLOB": loader.blob}
        if loader.btf:
            data |= {"_BTF": loader.btf, "_FUNC_INFO": loader.func_info}
        return _template().render(
            version=__version__,
            name=trace.name,
            cls=self._class,
            example=self._example(maps),
            summary=self._summary(maps, programs),
            texts=texts,
            packages=[f'"{name}"' for name in texts if is_package(name)],
            package=f"_lskel_{digest}",
            imports={name: sorted(self._imports[name]) for name in modules},
            exported=sorted(self._exported),
            types=types,
            has_enums=any("IntEnum" in definition for definition in types),
            maps=maps,
            programs=programs,
            links=links,
            order=trace.order,
            btf=bool(loader.btf),
            status=loader.status,
            calls=[_quoted(phrase(trace, op)) for op in trace.ops],
            inputs=inputs,
            loader_links=[trace.programs[link.slot].name for link in trace.links],
            data={name: _packed(content) for name, content in data.items()},
        )

    def _import(self, module: str, *names: str) -> None:
        if names:
            self._imports.setdefault(module, set()).update(names)

    def _class_of(self, path: str) -> str:
        """Import the class of a path "lskel.module:Class"; its name."""
        module, _, name = path.partition(":")
        self._import(module.removeprefix("lskel."), name)
        return name

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
                cls = self._class_of("lskel.runtime.maps.struct_ops:StructOpsMap")
                self._import("bpf.struct_ops", "Member", "StructOps")
                by_link = bool(create.flags & MapFlag.LINK)
                expression = f"{cls}({definition}, {ops[slot]!r}, by_link={by_link})"
                yield _Map(_identifier(made.name), cls, expression)
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

    def _data(self, section: str, definition: str, write: MapUpdate) -> _Map:
        assert isinstance(write.value, bytes)
        attr = _section_name(section)
        variables = self._section(section, write.size)
        cls = self._class_of("lskel.runtime.maps.data:DataMap")
        initial = _bytes(write.value, write.size)
        return _Map(
            attr,
            f"{cls}[{variables}]",
            f"{cls}({definition}, {variables}, {initial})",
            variables,
            f"The variables of {section}.",
        )

    def _kconfig(self, section: str, definition: str) -> _Map:
        kconfig = self._trace.kconfig
        assert kconfig is not None
        variables = self._section(section, kconfig.size)
        cls = self._class_of("lskel.runtime.maps.kconfig:KconfigMap")
        self._import("bpf.kconfig", "KconfigType", "KconfigVar")
        wanted = ", ".join(
            f"KconfigVar({var.name!r}, {var.type}, {var.size}, {var.is_signed}, {var.offset}, "
            f"{var.is_weak})"
            for var in kconfig.vars
        )
        return _Map(
            _section_name(section),
            f"{cls}[{variables}]",
            f"{cls}({definition}, {variables}, {kconfig.size}, ({wanted},))",
            variables,
            "Values of the kernel's configuration.",
        )

    def _arena(self, name: str, definition: str, initial: bytes) -> _Map:
        cls = self._class_of("lskel.runtime.maps.arena:ArenaMap")
        self._import("runtime.values", "Struct")
        if not initial:
            return _Map(_identifier(name), f"{cls}[Struct]", f"{cls}({definition})")
        variables = self._section(_ARENA_DATA, len(initial))
        create = f"{cls}({definition}, {variables}, {_bytes(initial, len(initial))})"
        doc = f"The variables of the arena {name}."
        return _Map(_identifier(name), f"{cls}[{variables}]", create, variables, doc)

    def _section(self, section: str, size: int) -> str:
        """The name of the class for a section's variables; plain `Struct` where there is no BTF."""
        if self._types is None:
            self._import("runtime.values", "Struct")
            return "Struct"
        parts = _section_name(section).split("_")
        return self._types.section(section, size, self._class + "".join(map(str.title, parts)))

    def _user_map(self, name: str, create: MapCreate, definition: str) -> _Map:
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
                annotations.append("int" if size in _RAW_INTS else "bytes")
        annotation = f"{cls}[{', '.join(annotations)}]" if annotations else cls
        return _Map(_identifier(name), annotation, f"{cls}({', '.join(arguments)})")

    def _declared(self, name: str, member: str) -> TypeId:
        """The type that a map's definition gives for its key or value; void where it gives none."""
        btf = self._btf
        section = btf.find(_USER_MAPS, t.Datasec) if btf is not None else None
        if btf is None or section is None:
            return t.VOID
        for info in btf.get(section, t.Datasec).vars:
            var = btf[info.type]
            if isinstance(var, t.Var) and var.name == name:
                definition = btf[btf.resolve(var.type)]
                members = definition.members if isinstance(definition, t.Struct) else ()
                pointers = (btf[btf.resolve(m.type)] for m in members if m.name == member)
                return next((p.type for p in pointers if isinstance(p, t.Ptr)), t.VOID)
        return t.VOID

    def _buffer(self, name: str, cls: str, definition: str) -> _Map:
        event = self._event(name)
        if event is None:
            return _Map(_identifier(name), f"{cls}[bytes]", f"{cls}({definition})")
        create = f"{cls}({definition}, {self._expression(event)})"
        return _Map(_identifier(name), f"{cls}[{self._annotation(event)}]", create)

    def _import_events(self) -> None:
        """What reads several buffers together, where there are several."""
        trace = self._trace
        types = [trace.map_create(slot).type for slot in range(len(trace.maps))]
        if sum(map_type in BUFFERS for map_type in types) > 1:
            self._import("runtime.events", "Events")
            self._exported.add("Events")

    def _raw(self, size: int) -> str:
        if size in _RAW_INTS:
            self._import("runtime.values", f"u{8 * size}")
            return f"u{8 * size}"
        self._import("runtime.values", "raw")
        return f"raw({size})"

    def _expression(self, type_id: TypeId) -> str:
        assert self._types is not None
        return self._types.type_expression(type_id)

    def _annotation(self, type_id: TypeId) -> str:
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
        definition = (
            f"ProgramDefinition({_quoted(made.name)}, {_quoted(spec.kind or spec.name)}, "
            f"{_quoted(spec.target)}, {int(prog_type)}, {int(number)}"
            f"{'' if made.autoload else ', autoload=False'})"
        )
        return _Program(_identifier(made.name), cls, f"{cls}({definition})")

    def _input(self, kind: InputKind) -> str:
        trace = self._trace
        cls = self._class_of(f"lskel.runtime.inputs:{type(kind).__name__}")
        if isinstance(kind, TypeSize):
            return f"{cls}({_quoted(kind.type)})"
        if isinstance(kind, MemberIndex):
            users = tuple(self._users(Input(trace.inputs.index(kind))))
            return f"{cls}({_quoted(kind.type)}, {_quoted(kind.member)}, {users})"
        spec = parse_section(trace.programs[kind.slot].section)
        prefix, number = spec.btf_target or ("", 0)
        is_program = spec.prog_type == ProgType.EXT
        return f"{cls}({kind.slot}, {_quoted(prefix)}, {int(number)}, {is_program})"

    def _users(self, value: Input) -> Iterator[int]:
        """The programs that are loaded for a member of this number."""
        for slot in range(len(self._trace.programs)):
            op = self._trace.prog_load(slot)
            if op is not None and op.expected_attach_type == value:
                yield slot

    # -- what the docstring says --------------------------------------------------------------

    def _example(self, maps: list[_Map]) -> list[str]:
        return [f"skel.{m.attr}.VARIABLE = ..." for m in maps if m.section][:1]

    def _summary(self, maps: list[_Map], programs: list[_Program]) -> list[tuple[str, list[str]]]:
        trace = self._trace
        rows = [
            f"{m.attr}: {enum_name(MapType, trace.map_create(slot).type)}"
            for slot, m in enumerate(maps)
        ]
        kinds = [f"{p.attr}: {trace.programs[n].section}" for n, p in enumerate(programs)]
        return [("maps", rows), ("progs", kinds)]


# The classes of a skeleton are its own name and these.
_PARTS = ("Maps", "Programs", "Links")
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
# Sizes of keys and values without BTF that are taken for numbers.
_RAW_INTS = (1, 2, 4, 8)


def _definition(create: MapCreate, *, pinned: bool) -> str:
    size = create.value_size if not isinstance(create.value_size, Input) else 0
    text = (
        f"MapDefinition({_quoted(create.name)}, {int(create.type)}, {create.key_size}, {size}, "
        f"{create.max_entries}"
    )
    for name, value in (("flags", create.flags), ("map_extra", create.map_extra)):
        text += f", {name}={value:#x}" if value else ""
    return text + (", pinned=True)" if pinned else ")")


def _taken(trace: Trace) -> set[str]:
    """Names that a module of the object imports, or may."""
    maps = (class_path(trace.map_create(slot).type) for slot in range(len(trace.maps)))
    programs = [_program_path(trace, slot) for slot in range(len(trace.programs))]
    classes = {path.partition(":")[2] for path in (*maps, *programs)}
    classes |= {name for path in programs for _, name in _enums(path.partition(":")[0])}
    fixed = {name for names in _ALWAYS.values() for name in names}
    return classes | fixed | {*_SOMETIMES, *dir(builtins)}


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


def _class_name(name: str, given: str | None, taken: set[str]) -> str:
    if given is not None:
        if not given.isidentifier() or keyword.iskeyword(given) or given in taken:
            raise UsageError(f"'{given}' cannot name a class, or is the runtime's")
        return given
    parts = re.split(r"[^0-9A-Za-z]+", name)
    made = "".join(part[:1].upper() + part[1:] for part in parts if part)
    is_free = made.isidentifier() and not keyword.iskeyword(made) and made not in taken
    return made if is_free else f"Bpf{made}"


def _identifier(name: str) -> str:
    made = re.sub(r"\W", "_", name, flags=re.ASCII) or "_"
    if made[0].isdigit():
        made = f"_{made}"
    return f"{made}_" if keyword.iskeyword(made) else made


def _section_name(section: str) -> str:
    return _identifier(section.removeprefix(".").replace(".", "_"))


def _unique(maps: Iterable[_Map]) -> list[_Map]:
    """The maps, none with the attribute of another."""
    found: dict[str, _Map] = {}
    for made in maps:
        attr = made.attr
        while attr in found:
            attr += "_"
        found[attr] = replace(made, attr=attr)
    return list(found.values())


def _quoted(text: str) -> str:
    return json.dumps(text)


def _bytes(value: bytes, size: int) -> str:
    """An expression for `value`, with zeros up to `size`."""
    stripped = value.rstrip(b"\0")
    if not stripped:
        return f"bytes({size})"
    padded = f".ljust({size}, b'\\0')" if len(stripped) < size else ""
    if len(stripped) <= _LINE:
        return f"{stripped!r}{padded}"
    return f'_unpacked("""\\\n{_packed(stripped)}\n"""){padded}'


def _packed(content: bytes) -> str:
    return "\n".join(wrap(b64encode(zlib.compress(content, 9)).decode(), _LINE))


def _template() -> jinja2.Template:
    # Imported where it is needed: it takes longer than most objects.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lskel.skeleton"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template("skeleton.py.j2")
