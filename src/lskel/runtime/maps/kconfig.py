"""The map .kconfig: values of the kernel's configuration that programs read."""

from __future__ import annotations

import sys

from lskel.runtime.kconfig import encode_values, this_machine
from lskel.runtime.maps.data import DataMap
from lskel.runtime.values import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from lskel.bpf.kconfig import KconfigVar
    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.values import Struct

    V = TypeVar("V", bound=Struct)
else:
    V = object


_ELSEWHERE = "the kernel's configuration says it; skel.maps.kconfig.configured goes before that"


class KconfigMap(DataMap[V]):
    """Values of the running kernel's configuration, found when it is loaded.

    `configured` has values that go before them, as they stand in a ``.config``:
    ``skel.maps.kconfig.configured["CONFIG_HZ"] = "1000"``.
    """

    def __init__(
        self,
        definition: MapDefinition,
        variables: type[V],
        size: int,
        wanted: tuple[KconfigVar, ...],
    ) -> None:
        super().__init__(definition, variables, bytes(size))
        self.configured: dict[str, str | int] = {}
        self._value = frozen(variables, self._initial, _ELSEWHERE)
        self._wanted = wanted

    def changed_value(self) -> bytes:
        """The values here and now; NotFound names those that this kernel does not say."""
        given = {name: _text(value) for name, value in self.configured.items()}
        self._encoded = encode_values(
            self._wanted, len(self._initial), this_machine(), sys.byteorder, given
        )
        return self._encoded


def _text(value: str | int) -> str:
    """As it stands in a ``.config``."""
    if isinstance(value, bool):
        return "y" if value else "n"
    return str(value)
