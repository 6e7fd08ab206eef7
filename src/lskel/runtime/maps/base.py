"""The base of all maps: size before creation, fd and pins after."""

from __future__ import annotations

import os

from lskel.errors import (
    Closed,
    LskelError,
    NotSupported,
    ReadOnly,
    UsageError,
    WrongType,
    WrongValue,
    got,
)
from lskel.runtime.kernel import RUNNING, bpf_of, check_running
from lskel.runtime.maps.attributes import MapAttributes
from lskel.runtime.maps.attributes import MapDefinition as MapDefinition
from lskel.runtime.objects import Fd, obj_pin
from lskel.runtime.request import MapRequest
from lskel.runtime.settings import nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from lskel.cursor import ByteOrder
    from lskel.runtime.collection import Collection
    from lskel.runtime.image import Image
    from lskel.runtime.info import MapInfo
    from lskel.runtime.kernel import Kernel
    from lskel.runtime.maps.inner import InnerMap
    from lskel.runtime.objects import Bpf


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


class Map(MapAttributes):
    """A map, before and after creation. Maps with elements are subclasses.

    Its class is that of its type: a map whose `type` is set has another class from then on.
    """

    _settable = (*MapAttributes._settable, "autocreate", "pin_path")
    _internal = frozenset(
        (
            *("bind", "changed_value", "created", "elsewhere", "kernel", "listen", "needed"),
            *("open_reused", "placed", "register", "request", "siblings", "token_path"),
        )
    )
    # The class of the global variables in it, if any.
    variables: Any = None

    def __init__(self, definition: MapDefinition) -> None:
        super().__init__(definition)
        # Called before an operation that needs the created map.
        self.needed: Callable[[], None] = nothing
        # The kernel in which it is, or will be, created.
        self.kernel: Kernel = RUNNING
        self._bpf: Bpf = RUNNING.bpf
        # The maps of its collection, and its loader.
        self.siblings: Iterable[Map] = ()
        self.image: Image | None = None
        # The bpffs whose BPF token its collection uses, as `open_token` takes it.
        self.token_path: str | None = None
        # Before its class was changed.
        self._declared_types: dict[str, Any] = {}
        self._autocreate = True
        self._is_left_out = False
        self._pin_path: str | None = None
        self._fd: Fd | None = None

    @property
    def autocreate(self) -> bool:
        """Whether it is created; settable before load().

        Programs that refer to a map that is not created load only if the verifier finds that code
        not to be reached, as with libbpf.
        """
        return self._autocreate

    @autocreate.setter
    def autocreate(self, wanted: bool) -> None:
        self._check_settable("autocreate")
        if not isinstance(wanted, bool):
            raise WrongType(f"{self._called}: expected True or False, got {got(wanted)}")
        self._autocreate = wanted

    @property
    def pin_path(self) -> str | None:
        """Where it is shared by a pin; settable before load().

        Load reuses the map that is pinned there, or pins the new one. None if it is not shared, or
        by its name in the `pin_root` of the collection (LIBBPF_PIN_BY_NAME); setting None disables
        that.
        """
        return self._pin_path

    @pin_path.setter
    def pin_path(self, path: str | os.PathLike[str] | None) -> None:
        self._check_settable("pin_path")
        if path is not None and not isinstance(path, (str, os.PathLike)):
            raise WrongType(f"{self._called}: expected a path, got {got(path)}")
        self._pin_path = None if path is None else os.fspath(path)
        self.definition = self.definition._replace(pinned=False)

    @property
    def is_shared(self) -> bool:
        """Whether it is shared by a pin."""
        return self.definition.pinned or self._pin_path is not None

    def shared_at(self, pin_root: str) -> str | None:
        """The path of the pin by which it is shared, if any."""
        if not self.definition.pinned:
            return self._pin_path
        from lskel.runtime.pins import pin_path

        return pin_path(pin_root, self.name)

    @property
    def inner_map(self) -> InnerMap:
        """The inner map definition of a map of maps; UsageError for other maps."""
        raise UsageError(f"{self._called} is not a map of maps")

    def _check_settable(self, attribute: str) -> None:
        if self._fd is not None or self._is_left_out:
            state = "was left out" if self._is_left_out else "is already created"
            raise ReadOnly(f"{self._called} {state}", hint=f"set {attribute} before load()")

    def leave_out(self) -> None:
        """The others are created, without it."""
        self._is_left_out = True

    def _redefine(self, definition: MapDefinition) -> None:
        before, self.definition = self.definition, definition
        if definition.type != before.type:
            self._fit_buffer()
        if self._shape(before) == self._shape(self.definition):
            return
        try:
            self._become()
        except LskelError:
            self.definition = before
            raise

    def _fit_buffer(self) -> None:
        """A buffer has no keys and values of its own: its sizes are those that its type fixes."""
        from lskel.catalog.map_types import BUFFERS, map_type_row

        row = map_type_row(self.definition.type)
        if row is not None and row.type in BUFFERS:
            (keys,), (values,) = row.keys, row.values
            self.definition = self.definition._replace(key_size=keys.low, value_size=values.low)

    def _shape(self, definition: MapDefinition) -> tuple[int, ...]:
        """What its class and types depend on."""
        return definition.type, definition.key_size, definition.value_size, definition.flags

    def _become(self) -> None:
        """Have the class of its type, with types that fit its sizes."""
        from lskel.bpf.enums import MapType
        from lskel.catalog.map_types import map_type_row
        from lskel.runtime.maps.kinds import class_path, map_class

        row = map_type_row(self.definition.type)
        if self.definition.type == MapType.STRUCT_OPS:
            raise WrongValue(f"{self._called} cannot become a struct of the kernel (struct_ops)")
        try:
            cls = map_class(self.definition.type)
        except ImportError as error:
            name = class_path(self.definition.type).partition(":")[2]
            raise NotSupported(
                f"{self._called}: this module lacks the class {name}",
                hint="generate it with --runtime import",
            ) from error
        types = self._declared_types or self._types()
        sizes = {"key": self.definition.key_size, "value": self.definition.value_size}
        takes = () if row is None else row.takes
        arguments = [_fitting(types.get(name), sizes.get(name)) for name in takes]
        definition, state = self.definition, vars(self)
        kept = {name: state[name] for name in _KEPT if name in state}
        state.clear()
        self.__class__ = cls
        cls.__init__(self, definition, *arguments)
        state.update(kept, _declared_types=types)

    def _types(self) -> dict[str, Any]:
        """The types that its class takes, by the names of the catalogue."""
        names = {"key": "key_type", "value": "value_type", "event": "event_type"}
        return {
            name: getattr(self, attribute)
            for name, attribute in names.items()
            if attribute in vars(self)
        }

    @property
    def _has_number_keys(self) -> bool:
        from lskel.runtime.values import s32, u32

        types = self._declared_types or self._types()
        return types.get("key") in (u32, s32)

    def created(self, kernel: Kernel) -> MapDefinition:
        """The definition for its creation: its size may depend on the machine."""
        from lskel.catalog.entries import entries_on

        definition = self.definition
        entries = entries_on(definition.type, definition.max_entries, kernel)
        return definition._replace(max_entries=entries)

    def request(self, kernel: Kernel, order: ByteOrder) -> MapRequest:
        """Its part of a load request, except the fd of a reused map; `order` is the object's."""
        attr = self._changes(self.created(kernel))
        # 0 in the context is no size.
        entries = attr.pop("max_entries") if attr.get("max_entries") else 0
        return MapRequest(
            self.name,
            self.definition.type,
            entries,
            self.changed_value(kernel, order),
            attr=attr,
            inner=self._inner_changes(kernel),
            autocreate=self._autocreate,
        )

    def _inner_changes(self, kernel: Kernel) -> dict[str, int]:
        """The changed fields of the inner map definition; none for other maps."""
        return {}

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
        """The fd of a map that is not created by the loader: reused by its pin."""
        path = self.shared_at(pin_root)
        if path is None or not kernel.is_running or not self._autocreate:
            return None
        from lskel.runtime.pins import open_pin

        return open_pin(self.created(kernel), path, trust_pins=trust_pins)

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
            hint = "" if self._autocreate else "set its `autocreate` to True before load()"
            raise UsageError(f"map '{self.name}' is not loaded", hint=hint)
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

    def placed(self, kernel: Kernel, siblings: Iterable[Map], image: Image) -> None:
        """Set the kernel in which it will be created, the maps of its collection, its loader."""
        self.kernel = kernel
        self._bpf = bpf_of(kernel)
        self.siblings = siblings
        self.image = image
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


# What stays of a map that gets another class.
_KEPT = (
    *("declared", "needed", "kernel", "_bpf", "siblings", "image"),
    *("_autocreate", "_pin_path", "_inner_map", "_fixed"),
)


def _fitting(type_: Any, size: int | None) -> Any:
    """A type of the declared ones if it has this size, else a number or bytes."""
    from lskel.runtime import values

    if size is None or (type_ is not None and values.codec_of(type_).size == size):
        return type_
    return {1: values.u8, 2: values.u16, 4: values.u32, 8: values.u64}.get(size) or values.raw(size)
