"""The Python skeleton: a module with a class for the object, and its loader."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from hashlib import sha256
from importlib import import_module

from lskel._version import __version__
from lskel.bpf.enums import MapType
from lskel.bpf.kconfig import KconfigVar
from lskel.bpf.names import enum_name
from lskel.bpf.struct_ops import StructOps
from lskel.btf.last_array import LastArray
from lskel.catalog.map_types import BUFFERS, alternatives
from lskel.describe.labels import labels
from lskel.errors import UsageError
from lskel.loader.model import NEEDS, Bytes, Loader
from lskel.runtime.inputs import InputOf
from lskel.runtime.maps.base import MapDefinition
from lskel.runtime.maps.kinds import class_path
from lskel.runtime.places import Places
from lskel.skeleton.embed import closure, is_package
from lskel.skeleton.model import (
    PLAIN_PROGRAM,
    RAW_NUMBERS,
    ByLink,
    ConfigValues,
    Initial,
    InnerModel,
    Late,
    MapModel,
    Model,
    ProgramModel,
    Raw,
    Resizable,
    SectionClass,
    program_path,
)
from lskel.skeleton.places import places_of
from lskel.skeleton.python_source import (
    docstring,
    dotted,
    identifier,
    literal,
    packed,
    tuple_of,
    verbatim,
)
from lskel.skeleton.python_types import TAKEN, TypeWriter
from lskel.skeleton.source import Source, join, source, template
from lskel.skeleton.types import ArrayOf, ClassOf, EnumOf, Scalar, Text
from lskel.tasks import Label
from lskel.trace import Trace

_ATTACH = "lskel.runtime.attach."
# Longer initial values are compressed.
_LINE = 92


@dataclass(frozen=True, slots=True)
class _PythonMap:
    """A map in the source: its attribute, type, class, and arguments of the constructor.

    `section` is the class of the variables in it, if any; `doc` describes them.
    """

    attr: Source
    annotation: Source
    cls: Source
    arguments: tuple[Source, ...]
    section: Source | None = None
    doc: str = ""

    @property
    def create(self) -> Source:
        """The constructor expression."""
        return source("{}({})", self.cls, join(", ", self.arguments))


@dataclass(frozen=True, slots=True)
class _PythonProgram:
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
    """The source of a module with the loader and a class for its maps and programs.

    `name` is the class name, by default the object's name in CamelCase. With `embed` the module
    embeds lskel's runtime and needs only the standard library; without, it imports lskel.
    `event_types` are as for `Loader.with_event_types`.

    UsageError if `name` is not an identifier; NotFound if a map or type in `event_types` does not
    exist.
    """
    return _ModuleWriter(loader.with_event_types(event_types or {}), name).text(embed=embed)


class _ModuleWriter:
    def __init__(self, loader: Loader, name: str | None) -> None:
        self._loader = loader
        self._trace = loader.trace
        taken = _taken(loader.trace)
        self._class = _class_name(loader.trace.name, name, taken)
        taken |= _classes(self._class) | TAKEN
        self._model = Model(loader.trace, taken)
        self._types = self._model.types
        self._writer = TypeWriter(self._types.names if self._types is not None else None)
        self._imports: dict[str, set[str]] = {}
        self._exported = {self._class, *_ERRORS, *_SYSCALL_ERRORS}

    def text(self, *, embed: bool) -> str:
        """The module."""
        trace, loader, model = self._trace, self._loader, self._model
        for module, names in _ALWAYS.items():
            self._import(module, *names)
        maps = [self._map(made) for made in model.maps]
        self._import_events()
        self._import_links()
        programs = [self._program(program) for program in model.programs]
        types = self._writer.definitions(self._types) if self._types is not None else []
        self._import("runtime.values", *self._writer.imports())
        inputs = [self._input(asked) for asked in model.inputs]
        by_attr = {item.attr: item for item in maps}
        properties = {attr: by_attr[made.attr] for attr, made in model.variables().items()}
        modules = sorted(self._imports)
        texts = closure([*modules, *self._alternatives(), "tasks"]) if embed else {}
        digest = sha256("".join(texts.values()).encode()).hexdigest()[:12]
        root = identifier(f"_lskel_{digest}")
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
            root=root,
            imports={dotted(name): _listed(self._imports[name]) for name in modules},
            exported=sorted(self._exported),
            types=types,
            has_enums=self._writer.has_enums,
            maps=maps,
            programs=programs,
            links=model.links(),
            properties=properties,
            order=trace.order,
            btf=bool(loader.btf),
            status=loader.status,
            needs=NEEDS[loader.form],
            labels=[_label(item) for item in labels(trace)],
            inputs=inputs,
            places=_places(places_of(loader)) if loader.compared is Bytes.SAME else None,
            loader_links=tuple(trace.programs[link.slot].name for link in trace.links),
            data=data,
        )

    def _alternatives(self) -> set[str]:
        """The modules for map types that a map's type may be changed to."""
        trace = self._trace
        own = {slot for slot, m in enumerate(self._model.maps) if m.section is not None}
        types = {trace.map_create(slot).type for slot in range(len(trace.maps)) if slot not in own}
        paths = {class_path(other) for kind in types for other in alternatives(kind)}
        return {path.partition(":")[0].removeprefix("lskel.") for path in paths}

    def _import(self, module: str, *names: str) -> None:
        if names:
            self._imports.setdefault(module, set()).update(names)

    def _class_of(self, path: str) -> Source:
        """Import the class of a path "lskel.module:Class"; its name."""
        module, _, name = path.partition(":")
        self._import(module.removeprefix("lskel."), name)
        return identifier(name)

    # -- maps -----------------------------------------------------------------------------------

    def _map(self, made: MapModel) -> _PythonMap:
        cls = self._class_of(made.path)
        self._exported.add(cls)
        definition = _definition(made.definition)
        section: Source | None = None
        arguments, annotations = [definition], []
        for argument in made.arguments:
            match argument:
                case SectionClass():
                    section = self._section(argument)
                    arguments.append(section)
                    annotations.append(section)
                case Raw():
                    arguments.append(self._raw(argument.size))
                    is_number = argument.size in RAW_NUMBERS
                    annotations.append(source("int") if is_number else source("bytes"))
                case Initial():
                    arguments.append(_bytes(argument.content, argument.size))
                case ByLink():
                    arguments.append(source("by_link={}", literal(argument.by_link)))
                case Late():
                    arguments.append(source("late={}", literal(argument.late)))
                case Resizable():
                    arguments.append(self._last_array(argument.array))
                case StructOps():
                    arguments.append(self._struct_ops(argument))
                case int():
                    arguments.append(literal(argument))
                case Scalar() | Text() | ArrayOf() | EnumOf() | ClassOf():
                    arguments.append(self._writer.expression(argument))
                    annotations.append(self._writer.annotation(argument))
                case ConfigValues():
                    arguments.append(self._kconfig(argument.variables))
                case InnerModel():
                    inner = self._map(
                        replace(made, path=argument.path, arguments=argument.arguments)
                    )
                    arguments.append(self._inner(inner, argument.btf))
                    annotations.append(inner.annotation)
        if not annotations and made.path in _GENERIC:
            annotations.append(self._default_type(made.path))
        annotation = source("{}[{}]", cls, join(", ", annotations)) if annotations else cls
        return _PythonMap(made.attr, annotation, cls, tuple(arguments), section, made.doc)

    def _inner(self, made: _PythonMap, btf: tuple[int, int]) -> Source:
        self._import("runtime.maps.inner", "InnerMaps")
        _definition, *types = made.arguments
        named = [source("btf={}", literal(btf))] if any(btf) else []
        return source("InnerMaps({})", join(", ", [made.cls, *types, *named]))

    def _default_type(self, path: str) -> Source:
        """The type argument of a generic class if its type is unknown."""
        name = _GENERIC[path]
        if name != "bytes":
            self._import("runtime.maps.base" if name == "Map" else "runtime.values", name)
        return identifier(name)

    def _section(self, section: SectionClass) -> Source:
        """The name of the class for a section's variables; `Struct` without BTF."""
        if self._types is None:
            self._import("runtime.values", "Struct")
            return source("Struct")
        return self._types.section(section.name, section.size, self._class + section.words).cls

    def _last_array(self, array: LastArray) -> Source:
        self._import("btf.last_array", "LastArray")
        return source("array=LastArray({})", join(", ", [literal(field) for field in array]))

    def _struct_ops(self, ops: StructOps) -> Source:
        self._import("bpf.struct_ops", "Member", "StructOps")
        members = tuple_of(
            source(
                "Member(name={}, value={}, is_function={}, program={})",
                *(literal(m.name), literal(m.value), literal(m.is_function), literal(m.program)),
            )
            for m in ops.members
        )
        return source("StructOps(type={}, members={})", literal(ops.type), members)

    def _kconfig(self, variables: tuple[KconfigVar, ...]) -> Source:
        self._import("bpf.kconfig", "KconfigType", "KconfigVar")
        return tuple_of(
            source(
                "KconfigVar({}, KconfigType.{}, {}, {}, {}, {})",
                literal(var.name),
                identifier(var.type.name),
                *map(literal, (var.size, var.is_signed, var.offset, var.is_weak)),
            )
            for var in variables
        )

    def _import_events(self) -> None:
        """`Events`, if there are several buffers."""
        trace = self._trace
        types = [trace.map_create(slot).type for slot in range(len(trace.maps))]
        if sum(map_type in BUFFERS for map_type in types) > 1:
            self._import("runtime.events", "Events")
            self._exported.add("Events")

    def _import_links(self) -> None:
        """`BpfLink`, if something attaches; its module is imported for that anyway."""
        if self._trace.struct_ops or any(p.path != PLAIN_PROGRAM for p in self._model.programs):
            self._import("runtime.attach.link", "BpfLink")
            self._exported.add("BpfLink")

    def _raw(self, size: int) -> Source:
        if size in RAW_NUMBERS:
            number = identifier(f"u{8 * size}")
            self._import("runtime.values", number)
            return number
        self._import("runtime.values", "raw")
        return source("raw({})", size)

    # -- programs -------------------------------------------------------------------------------

    def _program(self, program: ProgramModel) -> _PythonProgram:
        cls = self._class_of(program.path)
        for module, enum in _enums(program.path.partition(":")[0]):
            self._import(module, enum)
            self._exported.add(enum)
        made = program.definition
        definition = source(
            "ProgramDefinition({}, {}, {}, {}, {}{}{})",
            *(literal(made.name), literal(made.kind), literal(made.target)),
            *(literal(made.type), literal(made.attach_type)),
            source("") if made.autoload else source(", autoload=False"),
            source(", flags={:#x}", made.flags) if made.flags else source(""),
        )
        return _PythonProgram(program.attr, cls, source("{}({})", cls, definition))

    def _input(self, asked: InputOf) -> Source:
        kind = asked.kind
        cls = self._class_of(f"lskel.bpf.inputs:{type(kind).__name__}")
        self._import("runtime.inputs", "InputOf", "Inputs")
        arguments = join(", ", [literal(item) for item in kind])
        return source("InputOf({}({}), {})", cls, arguments, literal(asked.programs))

    def _summary(
        self, maps: list[_PythonMap], programs: list[_PythonProgram]
    ) -> list[tuple[str, list[str]]]:
        trace = self._trace
        rows = [
            f"{m.attr}: {enum_name(MapType, trace.map_create(slot).type)}"
            for slot, m in enumerate(maps)
        ]
        kinds = [f"{p.attr}: {trace.programs[n].section}" for n, p in enumerate(programs)]
        return [("maps", rows), ("progs", kinds)]


def _places(places: Places) -> Source:
    """The expression for the places of settings in the blob."""
    return source(
        "Places({}, {}, {}, {})",
        tuple_of(source("MapPlace({}, {})", *map(literal, place)) for place in places.maps),
        tuple_of(source("ProgramPlace({}, {})", *map(literal, place)) for place in places.programs),
        literal(places.btf),
        tuple_of(source("CallPlace({}, {}, {}, {})", *map(literal, call)) for call in places.calls),
    )


def _label(label: Label) -> Source:
    """The expression for the label of an operation."""
    parts = [source("Task.{}", identifier(label.task.name)), literal(label.name)]
    if label.number:
        parts.append(source("number={}", label.number))
    for name, text in ((source("kind"), label.kind), (source("needed_by"), label.needed_by)):
        if text:
            parts.append(source("{}={}", name, literal(text)))
    return source("Label({})", join(", ", parts))


_FILTERS: dict[str, Callable[..., Source]] = {
    "docstring": docstring,
    "literal": literal,
    "packed": packed,
    "verbatim": verbatim,
}
# Errors for users of a skeleton to catch.
_ERRORS = (
    *("BadInput", "Closed", "LskelError", "NoElement", "NoPermission", "NotFound", "NotSupported"),
    *("OutOfRange", "ReadOnly", "ReplayError", "UnknownName", "UsageError", "WrongType"),
    "WrongValue",
)
_SYSCALL_ERRORS = ("BpfError", "KernelError")
# Imports of every skeleton.
_ALWAYS = {
    "runtime.collection": ("Collection", "Links", "Maps", "Programs"),
    "runtime.image": ("Image",),
    "runtime.maps.base": ("MapDefinition",),
    "runtime.places": ("CallPlace", "MapPlace", "Places", "ProgramPlace"),
    "runtime.program": ("ProgramDefinition",),
    "runtime.syscall": _SYSCALL_ERRORS,
    "errors": _ERRORS,
}
# Imports of some skeletons, besides the classes of maps and programs.
_SOMETIMES = (
    *("ArenaMap", "DataMap", "KconfigMap", "LastArray", "Link", "StructOpsMap", "raw"),
    *("AttachBtfId", "AttachFd", "InputOf", "Inputs", "MemberIndex", "TypeMismatch", "TypeSize"),
    *("KconfigType", "KconfigVar", "Member", "StructOps"),
    *("a2b_base64", "decompress", "sys", "BpfLink", "Events", "InnerMaps", "Map"),
)
# Names that the template defines.
_OWN = (
    *(
        "Any",
        "TYPE_CHECKING",
        "annotations",
        "IntEnum",
        "_Importer",
        "_PACKAGES",
        "_ROOT",
        "_RUNTIME",
    ),
    *("_maps", "_programs", "_links", "_unpacked", "_image"),
    *("_BLOB", "_BTF", "_labels", "_places", "_FUNC_INFO", "Label", "Task", "_INSNS"),
)
# Type arguments of generic map classes if the type is unknown.
_GENERIC = {
    "lskel.runtime.maps.arena:ArenaMap": "Struct",
    **{class_path(map_type): "bytes" for map_type in BUFFERS},
    class_path(MapType.ARRAY_OF_MAPS): "Map",
}


def _definition(made: MapDefinition) -> Source:
    numbers = (made.type, made.key_size, made.value_size, made.max_entries)
    arguments = [literal(made.name), *(literal(number) for number in numbers)]
    for name, value in (
        (source("flags"), made.flags),
        (source("map_extra"), made.map_extra),
        (source("numa_node"), made.numa_node),
    ):
        if value:
            arguments.append(source("{}={:#x}", name, value))
    if made.pinned:
        arguments.append(source("pinned=True"))
    if made.inner is not None:
        arguments.append(source("inner={}", _definition(made.inner)))
    return source("MapDefinition({})", join(", ", arguments))


def _taken(trace: Trace) -> set[str]:
    """Names that the object's module imports, or may import."""
    maps = (class_path(trace.map_create(slot).type) for slot in range(len(trace.maps)))
    programs = [program_path(trace, slot) for slot in range(len(trace.programs))]
    classes = {path.partition(":")[2] for path in (*maps, *programs)}
    classes |= {name for path in programs for _, name in _enums(path.partition(":")[0])}
    fixed = {name for names in _ALWAYS.values() for name in names}
    return classes | fixed | {*_SOMETIMES, *_OWN, *dir(builtins)}


def _enums(module: str) -> Iterator[tuple[str, str]]:
    """The enums for arguments of a program's `attach`, and their modules."""
    for name, value in vars(import_module(module)).items():
        is_enum = isinstance(value, type) and issubclass(value, Enum)
        if is_enum and value.__module__.startswith(_ATTACH):
            yield value.__module__.removeprefix("lskel."), name


def _class_name(name: str, given: str | None, taken: set[str]) -> Source:
    if given is not None:
        if given != identifier(given) or _classes(given) & taken:
            raise UsageError(f"'{given}' is not a valid class name, or is used by the runtime")
        return identifier(given)
    parts = re.split(r"[^0-9A-Za-z]+", name)
    made = "".join(part[:1].upper() + part[1:] for part in parts if part)
    is_free = made == identifier(made) and not _classes(made) & taken
    return identifier(made if is_free else f"Bpf{made}")


def _classes(name: str) -> set[str]:
    """The class names of a skeleton."""
    return {name + part for part in ("", "Maps", "Programs", "Links")}


def _listed(names: set[str]) -> Source:
    return join(", ", map(identifier, sorted(names)))


def _bytes(value: bytes, size: int) -> Source:
    """An expression for `value`, zero-padded to `size`."""
    stripped = value.rstrip(b"\0")
    if not stripped:
        return source("bytes({})", size)
    is_long = len(stripped) > _LINE
    text = source("_unpacked({})", packed(stripped)) if is_long else literal(stripped)
    return source("{}.ljust({}, b'\\0')", text, size) if len(stripped) < size else text
