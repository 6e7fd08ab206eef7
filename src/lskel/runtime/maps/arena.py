"""Arenas: memory that programs share with user space, and the variables in it."""

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

    `memory` is all of it, once it is loaded: pages appear as they are touched.
    """

    def __init__(
        self,
        definition: MapDefinition,
        type_: type[V] | Callable[[], type[V]] = Struct,  # type: ignore[assignment]
        initial: bytes = b"",
    ) -> None:
        super().__init__(definition, type_, initial)

    @property
    def value(self) -> V:
        """The variables; UsageError where there are none, or after close()."""
        memory: bytearray | memoryview | None = self._memory if self._fd is None else None
        if isinstance(self._fd, MappedFd) and not self._fd.closed:
            memory = self._fd.memory
        if not self._memory or memory is None:
            raise UsageError(
                f"arena '{self.name}' has no variables here",
                hint="it is closed; or it has none; or another process made it, where only a "
                "map_extra says where it is mapped",
            )
        if self._value is None:
            self._value = self.variables.from_buffer(memory)
        found: V = self._value
        return found

    @property
    def memory(self) -> memoryview:
        """Its bytes; its collection is loaded for it. UsageError where it is not mapped."""
        if self._fd is None:
            self.needed()
        if not isinstance(self._fd, MappedFd) or self._fd.closed:
            raise UsageError(
                f"arena '{self.name}' is not mapped into this process",
                hint="it is closed; or another process made it, where only a map_extra says where "
                "it is mapped",
            )
        return self._fd.memory

    def given(self, kernel: Kernel, pin_root: str, *, trust_pins: bool) -> Fd | None:
        """Programs that use it load only when it is mapped: made, or opened, and mapped here."""
        wanted = self.created(kernel)
        there = super().given(kernel, pin_root, trust_pins=trust_pins)
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

    def close(self) -> None:
        """Unmap, and give the fd back."""
        self._value = None
        super().close()
