"""Arenas: memory shared between programs and user space, and the variables in it."""

from __future__ import annotations

from lskel.errors import UsageError
from lskel.runtime.arena import create_arena, map_arena
from lskel.runtime.maps.data import Variables
from lskel.runtime.memory import MappedFd
from lskel.runtime.values import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from lskel.runtime.kernel import Kernel
    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.objects import Fd

    V = TypeVar("V", bound=Struct)
else:
    V = object


class ArenaMap(Variables[V]):
    """An arena; `value` has its global variables as attributes. Linux 6.9.

    `memory` is all of it, once loaded: pages are allocated on access.
    """

    _fixed_attributes = ("type", "key_size", "value_size")
    _why_fixed = "is an arena"

    def __init__(
        self,
        definition: MapDefinition,
        type_: type[V] | Callable[[], type[V]] = Struct,  # type: ignore[assignment]
        initial: bytes = b"",
    ) -> None:
        super().__init__(definition, type_, initial)

    @property
    def value(self) -> V:
        """The variables; UsageError if there are none, or after close()."""
        memory: bytearray | memoryview | None = self._memory if self._fd is None else None
        if isinstance(self._fd, MappedFd) and not self._fd.closed:
            memory = self._fd.memory
        if not self._memory or memory is None:
            raise UsageError(
                f"variables of arena '{self.name}' are not available",
                hint="it is closed, has no variables, or was created by another process without a "
                "map_extra, so that its address is unknown",
            )
        if self._value is None:
            self._value = self.variables.from_buffer(memory)
        found: V = self._value
        return found

    @property
    def memory(self) -> memoryview:
        """Its bytes; loads the collection if necessary. UsageError if it is not mapped."""
        if self._fd is None:
            self.needed()
        if not isinstance(self._fd, MappedFd) or self._fd.closed:
            raise UsageError(
                f"arena '{self.name}' is not mapped in this process",
                hint="it is closed, or was created by another process without a map_extra, so that "
                "its address is unknown",
            )
        return self._fd.memory

    def open_reused(self, kernel: Kernel, pin_root: str, *, trust_pins: bool) -> Fd | None:
        """Create or open the arena, and map it: programs that use it load only after that."""
        if not (self.autocreate and kernel.is_running):
            return None
        wanted = self.created(kernel)
        there = super().open_reused(kernel, pin_root, trust_pins=trust_pins)
        if there is None:
            return create_arena(wanted, bytes(self._memory))
        if (
            not wanted.map_extra
        ):  # it must be mapped at the same address, which the kernel does not tell
            return there
        with there:
            return map_arena(wanted, there)

    def bind(self, fd: Fd) -> None:
        """It was created; map it."""
        super().bind(fd)
        self._value = None

    def close(self) -> None:
        """Unmap, and close the fd."""
        self._value = None
        super().close()
