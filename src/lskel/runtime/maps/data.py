"""Global data: the variables of .data, .bss, .rodata and .kconfig."""

from __future__ import annotations

from lskel.bpf.flags import MapFlag
from lskel.errors import UsageError
from lskel.named import Generic
from lskel.runtime.elements import lookup
from lskel.runtime.maps.base import Map
from lskel.runtime.memory import MappedFd, map_memory
from lskel.runtime.values import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.objects import Fd
    from lskel.runtime.values import Struct

    V = TypeVar("V", bound=Struct)
else:
    V = object


_KEY = bytes(4)
_SET_BEFORE = "constants are set before load()"


class DataMap(Map, Generic[V]):
    """A section of global variables; `value` has them as attributes.

    Before load() these are the initial values, which may be set. Afterwards they are the memory
    that the programs use, but for constants (.rodata, .kconfig), which can be read only.
    """

    def __init__(self, definition: MapDefinition, variables: type[V], initial: bytes) -> None:
        super().__init__(definition)
        self.variables = variables
        self._initial = initial
        self._memory = bytearray(initial)
        self._mapped: MappedFd | None = None
        self._value: Any = variables.from_buffer(self._memory)

    @property
    def value(self) -> V:
        """The variables; UsageError after close()."""
        if self._value is None:
            raise UsageError(f"the variables of '{self.name}' are closed")
        found: V = self._value
        return found

    @property
    def max_entries(self) -> int:
        """One: all variables are one element."""
        return 1

    @max_entries.setter
    def max_entries(self, entries: int) -> None:
        raise UsageError(f"map '{self.name}' holds variables, which are one element")

    @property
    def is_constant(self) -> bool:
        """Whether the variables cannot change once they are loaded."""
        return bool(self.definition.flags & MapFlag.RDONLY_PROG)

    def changed_value(self) -> bytes | bytearray | None:
        """The initial value, where it is not the object's."""
        return self._memory if self._memory != self._initial else None

    def bind(self, fd: Fd) -> None:
        """It was created: the variables are those that programs see, from now on."""
        super().bind(fd)
        size = len(self._initial)
        if self.is_constant:
            now = lookup(fd.fileno(), _KEY, size) or b""
            self._value = frozen(self.variables, now, _SET_BEFORE)
        else:
            self._mapped = map_memory(fd.fileno(), size)
            self._value = self.variables.from_buffer(self._mapped.memory)

    def close(self) -> None:
        """Unmap, and give the fd back; variables can no longer be used."""
        self._value = None
        if self._mapped is not None:
            self._mapped.close()
        super().close()
