"""The class of each attach kind, as a path, so that it is imported on use."""

from __future__ import annotations

from lskel.catalog.attach_kinds import attach_kind_row
from lskel.runtime.program import Program

_ROOM = "lskel.runtime.attach."


def class_path(kind: str, prog_type: int, attach_type: int) -> str:
    """``module:Class`` for such a program; "" for `Program`, which does not attach.

    `kind` is the first part of its section name, as in `ProgramDefinition`; any other text if the
    types do not come from the section name.
    """
    row = attach_kind_row(kind, prog_type, attach_type)
    return _ROOM + row.python_class if row is not None and row.python_class else ""


def program_class(kind: str, prog_type: int, attach_type: int) -> type[Program]:
    """The class that `class_path` names.

    ImportError in a module that carries its runtime, and has no programs of this kind.
    """
    path = class_path(kind, prog_type, attach_type)
    if not path:
        return Program
    from importlib import import_module

    module, _, name = path.removeprefix(_ROOM).partition(":")
    # A module that carries its runtime has it under another name.
    found: type[Program] = getattr(import_module(f"{__name__.rpartition('.')[0]}.{module}"), name)
    return found
