"""Collections at run time: the class of a loader, without generated source."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lskel.describe.labels import labels
from lskel.loader.model import NEEDS, Bytes, Loader
from lskel.runtime import values
from lskel.runtime.collection import Collection, Links, Maps, Programs
from lskel.runtime.image import Image
from lskel.runtime.inputs import Inputs
from lskel.runtime.maps.data import Variables
from lskel.runtime.maps.inner import InnerMaps
from lskel.runtime.places import Places
from lskel.skeleton.classes import TypeClasses
from lskel.skeleton.model import (
    RAW_NUMBERS,
    Argument,
    ByLink,
    ConfigValues,
    Initial,
    InnerModel,
    Late,
    MapModel,
    Model,
    Raw,
    Resizable,
    SectionClass,
)
from lskel.skeleton.places import places_of
from lskel.skeleton.source import word
from lskel.skeleton.types import ArrayOf, ClassOf, EnumOf, Scalar, Text
from lskel.trace import Trace

if TYPE_CHECKING:
    from lskel.runtime.kernel import Kernel


def collection_of(
    trace: Trace,
    loader: Loader | None = None,
    kernel: Kernel | None = None,
    *,
    labelled: bool = True,
) -> DynamicCollection:
    """The collection of a trace, loaded by its loader or by `kernel`."""
    model = Model(trace)
    owners = tuple(trace.programs[link.slot].name for link in trace.links)
    inputs = Inputs(*model.inputs) if model.inputs else None
    image = Image(
        trace.name, trace.order, partial(labels, trace) if labelled else tuple, inputs, owners
    )
    if loader is not None:
        image = with_loader(image, loader)
    elif trace.btf is not None:  # the calls are made otherwise: all of its data
        btf = trace.btf
        image = image._replace(blob=btf, places=lambda: Places((), (), (0, len(btf))))
    class_name = _class_name(trace.name)
    types = _Arguments(model, class_name)
    maps = Maps(**{made.attr: types.create(made) for made in model.maps})
    progs = Programs(**{p.attr: _class(p.path)(p.definition) for p in model.programs})
    links = Links(**model.links())
    sections = {attr: made.attr for attr, made in model.variables().items()}
    properties: dict[str, Any] = {attr: _variables(name) for attr, name in sections.items()}
    properties |= {"_sections": sections, "__doc__": Collection.__doc__}
    cls = type(class_name, (DynamicCollection,), properties)
    made: DynamicCollection = cls(image, maps, progs, links, kernel)
    return made


class DynamicCollection(Collection):
    """A collection with names and types that are only known at run time."""

    if TYPE_CHECKING:
        maps: Any
        progs: Any
        links: Any

        def __getattr__(self, name: str) -> Any: ...

    # The attributes of maps of variables, by that of the collection.
    _sections: Mapping[str, str] = {}


def variables_of(bpf: DynamicCollection) -> dict[str, Variables[Any]]:
    """The maps of variables, by their attributes of the collection: "rodata", "data_mine"."""
    return {attr: getattr(bpf.maps, name) for attr, name in bpf._sections.items()}


def with_loader(image: Image, loader: Loader) -> Image:
    """The image with a loader's bytes."""
    return image._replace(
        insns=loader.insns,
        blob=loader.blob,
        btf=loader.btf,
        func_info=loader.func_info,
        status=loader.status,
        needs=NEEDS[loader.form],
        places=partial(places_of, loader) if loader.compared is Bytes.SAME else None,
    )


def _class(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _variables(attr: str) -> property:
    return property(lambda self: getattr(self.maps, attr).value)


def _class_name(name: str) -> str:
    parts = re.split(r"[^0-9A-Za-z]+", name)
    return word("".join(part[:1].upper() + part[1:] for part in parts))


class _Arguments:
    """Creates maps, and on first use the classes of variables."""

    def __init__(self, model: Model, class_name: str) -> None:
        self._class_name = class_name
        self._types = model.types
        self._classes = TypeClasses(model.types) if model.types is not None else None

    def create(self, made: MapModel) -> Any:
        named: dict[str, Any] = {}
        arguments = []
        for argument in made.arguments:
            if isinstance(argument, ByLink):
                named["by_link"] = argument.by_link
            elif isinstance(argument, Late):
                named["late"] = argument.late
            elif isinstance(argument, Resizable):
                named["array"] = argument.array
            else:
                arguments.append(self._argument(argument))
        return _class(made.path)(made.definition, *arguments, **named)

    def _argument(self, argument: Argument) -> Any:
        match argument:
            case SectionClass():
                return self._section(argument)
            case Raw():
                size = argument.size
                name = f"u{8 * size}"
                return getattr(values, name) if size in RAW_NUMBERS else values.raw(size)
            case Initial():
                return argument.content.ljust(argument.size, b"\0")
            case Scalar() | Text() | ArrayOf() | EnumOf() | ClassOf():
                assert self._classes is not None
                return self._classes.value(argument)
            case ConfigValues():
                return argument.variables
            case InnerModel():
                types = map(self._argument, argument.arguments)
                return InnerMaps(_class(argument.path), *types, btf=argument.btf)
            case _:
                return argument

    def _section(self, section: SectionClass) -> type[Any] | Callable[[], type[Any]]:
        types, classes = self._types, self._classes
        class_name = self._class_name + section.words
        if types is None or classes is None:
            return values.Struct

        def make() -> Any:
            kind = types.section(section.name, section.size, class_name, static=True)
            return classes.value(kind)

        return make
