"""The class of each map type, as a path, so that it is imported on use."""

from __future__ import annotations

from lskel.catalog.map_types import map_type_row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.maps.base import Map

_ROOM = "lskel.runtime.maps."
_PLAIN = "base:Map"


def class_path(map_type: int) -> str:
    """``module:Class`` for a `MapType`; that of `Map` for an unknown number."""
    row = map_type_row(map_type)
    return _ROOM + (_PLAIN if row is None else row.python_class)


def map_class(map_type: int) -> type[Map]:
    """Import the class for a `MapType`: ``map_class(info.type).open(info.id, u32, u64)``.

    ImportError in a module that carries its runtime, and has no maps of this type.
    """
    from importlib import import_module

    module, _, name = class_path(map_type).removeprefix(_ROOM).partition(":")
    # A module that carries its runtime has it under another name.
    found: type[Map] = getattr(import_module(f"{__name__.rpartition('.')[0]}.{module}"), name)
    return found
