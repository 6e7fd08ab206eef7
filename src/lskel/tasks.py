"""What an operation of a loader does, and to what: data from which errors are worded."""

from __future__ import annotations

from enum import Enum

from lskel.named import NamedTuple


class Task(Enum):
    """What is done; the value is how it is said, with the fields of a `Label`."""

    BTF_LOAD = "BPF_BTF_LOAD of {number} bytes"
    MAP_CREATE = "BPF_MAP_CREATE of map '{name}'"
    # A map of maps whose inner map the object does not define.
    OUTER_MAP_CREATE = "BPF_MAP_CREATE of map of maps '{name}'"
    MAP_UPDATE = "BPF_MAP_UPDATE_ELEM of map '{name}', key {number}"
    MAP_FREEZE = "BPF_MAP_FREEZE of map '{name}'"
    PROG_LOAD = "BPF_PROG_LOAD of program '{name}'"
    ATTACH = "attaching program '{name}'"
    FIND_TYPE = "looking up {kind} '{name}' in the kernel's BTF"
    FIND_SYMBOL = "looking up kernel symbol '{name}'"
    CLOSE = "closing a file descriptor"


class Label(NamedTuple):
    """An operation: its task, and the map, program, type or symbol that it is about.

    `number` is that of the task's text: of bytes, or of a key. `kind` is the kind of a type.
    `needed_by` says, in words, what needs it: "program 'x'".
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
            return f"{text}, which {self.needed_by} needs"
        return f"{text} for {self.needed_by}"
