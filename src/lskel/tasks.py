"""What an operation of a loader does and to which object: data for error messages."""

from __future__ import annotations

from enum import Enum

from lskel.light_typing import NamedTuple


class Task(Enum):
    """What an operation does; the value is its text, with the fields of a `Label`."""

    BTF_LOAD = "BPF_BTF_LOAD of {number} bytes"
    MAP_CREATE = "BPF_MAP_CREATE of map '{name}'"
    # A map of maps whose inner map the object does not define.
    OUTER_MAP_CREATE = "BPF_MAP_CREATE of map of maps '{name}'"
    # A map that only the code of one program uses.
    JUMP_TABLE_CREATE = "BPF_MAP_CREATE of a jump table of {number} entries"
    MAP_UPDATE = "BPF_MAP_UPDATE_ELEM of map '{name}', key {number}"
    MAP_FREEZE = "BPF_MAP_FREEZE of map '{name}'"
    PROG_LOAD = "BPF_PROG_LOAD of program '{name}'"
    ATTACH = "attaching program '{name}'"
    FIND_TYPE = "looking up {kind} '{name}' in the kernel's BTF"
    FIND_SYMBOL = "looking up kernel symbol '{name}'"
    CLOSE = "closing a file descriptor"


class Label(NamedTuple):
    """An operation: its task, and its map, program, type or symbol.

    `number` is the number in the task's text: bytes, or a key. `kind` is the BTF kind of a type.
    `needed_by` names what needs it, such as "program 'x'".
    """

    task: Task
    name: str = ""
    number: int = 0
    kind: str = ""
    needed_by: str = ""

    def __str__(self) -> str:
        text = self.task.value.format(**self._asdict())
        if not self.needed_by:
            return text
        if self.task is Task.BTF_LOAD:
            return f"{text}, needed by {self.needed_by}"
        return f"{text} for {self.needed_by}"
