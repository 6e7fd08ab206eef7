"""Arenas: memory that programs share with user space, and the variables in it."""

from __future__ import annotations

from lskel.errors import UsageError
from lskel.named import Generic
from lskel.runtime.arena import create_arena, map_arena
from lskel.runtime.maps.base import Map
from lskel.runtime.memory import MappedFd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.objects import Fd
    from lskel.runtime.values import Struct

    V = TypeVar("V", bound=Struct)
else:
    V = object


class ArenaMap(Map, Generic[V]):
    """An arena; `value` has its global variables as attributes. Linux 6.9.

    `memory` is all of it, once it is loaded: pages appear as they are touched.
    """

    def __init__(
        self, definition: MapDefinition, variables: type[V] | None = None, initial: bytes = b""
    ) -> None:
        super().__init__(definition)
        self.variables = variables
        self._memory = bytearray(initial)
        self._value: Any = variables.from_buffer(self._memory) if variables else None

    @property
    def value(self) -> V:
        """The variables; UsageError where there are none, or after close()."""
        if self._value is None:
            raise UsageError(
                f"arena '{self.name}' has no variables here",
                hint="it is closed; or it has none; or another process made it, where only a "
                "map_extra says where it is mapped",
            )
        found: V = self._value
        return found

    @property
    def memory(self) -> memoryview:
        """Its bytes; UsageError where it is not loaded."""
        if not isinstance(self._fd, MappedFd) or self._fd.closed:
            raise UsageError(f"arena '{self.name}' is not loaded", hint="load() comes first")
        return self._fd.memory

    def given(self, pin_root: str, *, trust_pins: bool) -> Fd | None:
        """Programs that use it load only when it is mapped: made, or opened, and mapped here."""
        wanted = self.definition._replace(max_entries=self.wanted_entries())
        there = super().given(pin_root, trust_pins=trust_pins)
        if there is None:
            return create_arena(wanted, bytes(self._memory))
        if (
            not wanted.map_extra
        ):  # it can be mapped only where it is, which the kernel does not tell
            return there
        with there:
            return map_arena(wanted, there)

    def bind(self, fd: Fd) -> None:
        """It was created and mapped."""
        super().bind(fd)
        self._value = None
        if self.variables is not None and isinstance(fd, MappedFd):
            self._value = self.variables.from_buffer(fd.memory)

    def close(self) -> None:
        """Unmap, and give the fd back."""
        self._value = None
        super().close()
