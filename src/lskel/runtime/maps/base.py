"""The base of all maps: size before creation, fd and pins after."""

from __future__ import annotations

import os

from lskel.errors import Closed, ReadOnly, UsageError, WrongType
from lskel.light_typing import NamedTuple
from lskel.runtime.kernel import RUNNING, bpf_of, check_running
from lskel.runtime.objects import Fd, obj_pin
from lskel.runtime.request import MapRequest
from lskel.runtime.settings import Settings, nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from lskel.cursor import ByteOrder
    from lskel.runtime.collection import Collection
    from lskel.runtime.info import MapInfo
    from lskel.runtime.kernel import Kernel
    from lskel.runtime.objects import Bpf


class MapDefinition(NamedTuple):
    """A map as the object declares it, with field names of `struct bpf_map_info`.

    `type` is a `MapType`; sizes are in bytes; `pinned`: it is shared by a pin of its name.
    """

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    map_extra: int = 0
    pinned: bool = False


def definition_of(info: MapInfo, name: str | None = None) -> MapDefinition:
    """The definition of an existing map, with the object's name if the caller knows it."""
    return MapDefinition(
        info.name if name is None else name,
        info.type,
        info.key_size,
        info.value_size,
        info.max_entries,
        info.flags,
        info.map_extra,
    )


class Map(Settings):
    """A map, before and after creation. Maps with elements are subclasses."""

    _internal = frozenset(
        (
            *("bind", "changed_value", "created", "elsewhere", "kernel", "listen", "needed"),
            *("open_reused", "placed", "register", "request", "siblings"),
        )
    )
    # The class of the global variables in it, if any.
    variables: Any = None

    def __init__(self, definition: MapDefinition) -> None:
        self.definition = definition
        # Called before an operation that needs the created map.
        self.needed: Callable[[], None] = nothing
        # The kernel in which it is, or will be, created.
        self.kernel: Kernel = RUNNING
        self._bpf: Bpf = RUNNING.bpf
        # The maps of its collection.
        self.siblings: Iterable[Map] = ()
        self._max_entries = definition.max_entries
        self._fd: Fd | None = None

    @property
    def name(self) -> str:
        """Its name in the object; the kernel may truncate it."""
        return self.definition.name

    @property
    def max_entries(self) -> int:
        """The maximum number of entries (or bytes, or pages); settable before load()."""
        return self._max_entries

    @max_entries.setter
    def max_entries(self, entries: int) -> None:
        if self._fd is not None:
            raise ReadOnly(
                f"map '{self.name}' is already created", hint="set max_entries before load()"
            )
        if not isinstance(entries, int):
            raise WrongType(
                f"map '{self.name}': expected a number of entries, got {type(entries).__name__}"
            )
        if not 0 < entries < 1 << 32:
            raise UsageError(f"map '{self.name}' cannot have {entries} entries")
        self._max_entries = entries

    def created(self, kernel: Kernel) -> MapDefinition:
        """The definition for its creation: its size may depend on the machine."""
        from lskel.catalog.entries import entries_on

        entries = entries_on(self.definition.type, self._max_entries, kernel)
        return self.definition._replace(max_entries=entries)

    def request(self, kernel: Kernel, order: ByteOrder) -> MapRequest:
        """Its part of a load request, except the fd of a reused map; `order` is the object's."""
        entries = self.created(kernel).max_entries
        is_same = entries == self.definition.max_entries
        value = self.changed_value(kernel, order)
        return MapRequest(self.name, self.definition.type, 0 if is_same else entries, value)

    def changed_value(self, kernel: Kernel, order: ByteOrder) -> bytes | bytearray | None:
        """The value of global data if it was changed; None for other maps."""
        return None

    @property
    def initial(self) -> memoryview:
        """The initial value of global data, writable before load().

        UsageError for other maps.
        """
        raise UsageError(f"map '{self.name}' is not global data: it has no initial value")

    def open_reused(self, kernel: Kernel, pin_root: str, *, trust_pins: bool) -> Fd | None:
        """The fd of a map that is not created by the loader: reused by a pin of its name."""
        if not self.definition.pinned:
            return None
        from lskel.runtime.pins import open_pin

        return open_pin(self.created(kernel), pin_root, trust_pins=trust_pins)

    def listen(self) -> None:
        """Start to receive events, before programs are attached; no-op for other maps."""

    def register(self, owner: Collection) -> None:
        """Register struct_ops with the programs of a collection; UsageError for other maps."""
        raise UsageError(f"map '{self.name}' cannot be attached")

    def fileno(self) -> int:
        """Its fd; loads the collection if necessary. Closed after `close`."""
        if self._fd is None:
            self.needed()
        if self._fd is None:
            raise UsageError(f"map '{self.name}' is not loaded")
        if self._fd.closed:
            raise Closed(f"map '{self.name}' is closed")
        return self._fd.fileno()

    def info(self) -> MapInfo:
        """What the kernel reports about it."""
        from lskel.runtime.info import map_info

        return map_info(self.fileno(), bpf=self._bpf)

    def pin(self, path: str | os.PathLike[str], *, trust_pins: bool = False) -> None:
        """Pin it to a bpffs, so that it outlives this process; as `obj_pin`."""
        check_running(self.kernel, "has no pins")
        obj_pin(self.fileno(), path, trust_pins=trust_pins)

    def unpin(self, path: str | os.PathLike[str]) -> None:
        """Remove a pin; OSError if it does not exist."""
        check_running(self.kernel, "has no pins")
        os.unlink(path)  # noqa: PTH108 - pathlib is slow to import

    def placed(self, kernel: Kernel, siblings: Iterable[Map]) -> None:
        """Set the kernel in which it will be created, and the maps of its collection."""
        self.kernel = kernel
        self._bpf = bpf_of(kernel)
        self.siblings = siblings
        self._fixed = True

    def bind(self, fd: Fd) -> None:
        """It was created; it owns `fd`."""
        self._fd = fd

    def close(self) -> None:
        """Close the fd; the kernel frees the map after its last user."""
        if self._fd is not None:
            self._fd.close()

    def __repr__(self) -> str:
        if self._fd is None:
            state = "not created"
        else:
            state = "closed" if self._fd.closed else f"fd {self._fd.fileno()}"
        return f"<{type(self).__name__} {self.name}: {state}>"
