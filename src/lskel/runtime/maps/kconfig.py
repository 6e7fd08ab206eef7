"""The map .kconfig: kconfig values that programs read."""

from __future__ import annotations

from lskel.runtime.kconfig import encode_values, this_machine
from lskel.runtime.maps.data import DataMap
from lskel.runtime.values.frozen import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from lskel.bpf.kconfig import KconfigVar
    from lskel.cursor import ByteOrder
    from lskel.runtime.kernel import Kernel
    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.values import Struct

    V = TypeVar("V", bound=Struct)
else:
    V = object


_ELSEWHERE = "it comes from the kernel configuration; set maps.kconfig.configured to override it"


class KconfigMap(DataMap[V]):
    """Kconfig values of the running kernel, determined at load time.

    `configured` overrides them, with values as in a ``.config``:
    ``skel.maps.kconfig.configured["CONFIG_HZ"] = "1000"``.
    """

    _fixed_attributes: tuple[str, ...] = ("type", "key_size", "value_size", "max_entries")

    def __init__(
        self,
        definition: MapDefinition,
        type_: type[V] | Callable[[], type[V]],
        size: int,
        asked: tuple[KconfigVar, ...],
    ) -> None:
        super().__init__(definition, type_, bytes(size))
        self.configured: dict[str, str | int] = {}
        self._asked = asked

    def _view(self) -> V:
        if self._fd is None:
            return frozen(self.variables, self._memory, _ELSEWHERE)
        return super()._view()

    def changed_value(self, kernel: Kernel, order: ByteOrder) -> bytes | bytearray:
        """The values of that kernel, unless all were set; NotFound names the missing ones."""
        if self._changed is not None:
            return self._changed
        values = {name: _text(value) for name, value in self.configured.items()}
        source = kernel.kconfig or this_machine()
        return encode_values(self._asked, self._size, source, order, values)


def _text(value: str | int) -> str:
    """As in a ``.config``."""
    if isinstance(value, bool):
        return "y" if value else "n"
    return str(value)
