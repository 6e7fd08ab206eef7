"""The attributes of a map that are set before it is created, as libbpf's setters do."""

from __future__ import annotations

from lskel.bpf.enums import MapType
from lskel.bpf.flags import MapFlag
from lskel.bpf.names import MAP_TYPE_PREFIX, enum_value, flag_value
from lskel.bpf.settable import MAP_FIELDS
from lskel.errors import OutOfRange, UsageError, WrongType, at, got
from lskel.light_typing import NamedTuple
from lskel.runtime.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_BITS = {"map_extra": 64}
# Attributes that have another name in a definition.
_FIELDS = {"map_flags": "flags"}


class MapDefinition(NamedTuple):
    """A map as the object declares it, with field names of `struct bpf_map_info`.

    `type` is a `MapType`; sizes are in bytes; `pinned`: it is shared by a pin of its name.
    `inner` is the inner map definition of a map of maps.
    """

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    map_extra: int = 0
    pinned: bool = False
    numa_node: int = 0
    inner: MapDefinition | None = None


class MapAttributes(Settings):
    """What BPF_MAP_CREATE of a map gets; settable before it is created.

    A value that does not fit is refused: WrongType, OutOfRange, UnknownName for a type or flag,
    UsageError for what this map cannot have, ReadOnly once it is created.
    """

    _settable: tuple[str, ...] = (
        *("type", "key_size", "value_size", "max_entries"),
        *("map_flags", "map_extra", "numa_node"),
    )
    # The attributes that cannot be set, and why.
    _fixed_attributes: tuple[str, ...] = ()
    _why_fixed = ""

    def __init__(self, definition: MapDefinition) -> None:
        self.definition = definition
        self.declared = definition

    @property
    def name(self) -> str:
        """Its name in the object; the kernel may truncate it."""
        return self.definition.name

    @property
    def _called(self) -> str:
        """What errors call it."""
        return f"map '{self.name}'"

    @property
    def type(self) -> int:
        """Its `MapType`; set as a number or name ("perf_event_array")."""
        return self.definition.type

    @type.setter
    def type(self, wanted: int | str) -> None:
        self._set(
            "type",
            wanted,
            lambda name: enum_value(MapType, name, MAP_TYPE_PREFIX, "map type"),
        )

    @property
    def key_size(self) -> int:
        """Bytes of a key."""
        return self.definition.key_size

    @key_size.setter
    def key_size(self, size: int) -> None:
        self._set("key_size", size)

    @property
    def value_size(self) -> int:
        """Bytes of a value."""
        return self.definition.value_size

    @value_size.setter
    def value_size(self, size: int) -> None:
        self._set("value_size", size)

    @property
    def max_entries(self) -> int:
        """The maximum number of entries (or bytes, or pages).

        0 for perf event arrays: the number of CPUs.
        """
        return self.definition.max_entries

    @max_entries.setter
    def max_entries(self, entries: int) -> None:
        self._set("max_entries", entries)

    @property
    def map_flags(self) -> int:
        """The flags of BPF_MAP_CREATE; set as a number or names ("no_prealloc|mmapable")."""
        return self.definition.flags

    @map_flags.setter
    def map_flags(self, flags: int | str) -> None:
        self._set("map_flags", flags, lambda names: flag_value(MapFlag, names))

    @property
    def map_extra(self) -> int:
        """What else its type takes: hash functions of a bloom filter, an arena's address."""
        return self.definition.map_extra

    @map_extra.setter
    def map_extra(self, extra: int) -> None:
        self._set("map_extra", extra)

    @property
    def numa_node(self) -> int:
        """Where its memory is, if it has the flag BPF_F_NUMA_NODE."""
        return self.definition.numa_node

    @numa_node.setter
    def numa_node(self, node: int) -> None:
        self._set("numa_node", node)

    def _set(self, attribute: str, value: Any, named: Callable[[str], int] | None = None) -> None:
        self._check_settable(attribute)
        if attribute in self._fixed_attributes:
            raise UsageError(f"{self._called} {self._why_fixed}")
        if isinstance(value, str) and named is not None:
            with at(self._called):
                value = named(value)
        if isinstance(value, bool) or not isinstance(value, int):
            what = "a number of entries" if attribute == "max_entries" else "a number"
            raise WrongType(f"{self._called}: expected {what}, got {got(value)}")
        self._check_range(attribute, value)
        changed: Any = {_FIELDS.get(attribute, attribute): int(value)}
        self._redefine(self.definition._replace(**changed))

    def _check_range(self, attribute: str, value: int) -> None:
        bits = _BITS.get(attribute, 32)
        if attribute == "max_entries":
            least = 0 if self._may_be_empty else 1
            if not least <= value < 1 << bits:
                raise OutOfRange(f"{self._called} cannot have {value} entries")
        elif not 0 <= value < 1 << bits:
            raise OutOfRange(f"{self._called}: {attribute} {value} does not fit into {bits} bits")

    @property
    def _may_be_empty(self) -> bool:
        """Whether max_entries may be 0."""
        from lskel.catalog.map_types import map_type_row

        row = map_type_row(self.definition.type)
        is_counted = self.definition.type == MapType.PERF_EVENT_ARRAY
        return is_counted or row is None or any(allowed.low == 0 for allowed in row.entries)

    def _check_settable(self, attribute: str) -> None:
        """ReadOnly if it is too late."""

    def _redefine(self, definition: MapDefinition) -> None:
        """It has this definition from now on."""
        self.definition = definition

    def _changes(self, definition: MapDefinition) -> dict[str, int]:
        """The fields of BPF_MAP_CREATE that differ from those that the object declares."""
        declared = self.declared
        names = (name for name in MAP_FIELDS if name not in _TYPES)
        values = ((name, int(getattr(definition, name))) for name in names)
        changed = {name: value for name, value in values if value != getattr(declared, name)}
        return changed if self._keeps_types(definition) else {**changed, **dict.fromkeys(_TYPES, 0)}

    def _keeps_types(self, definition: MapDefinition) -> bool:
        """Whether the BTF types of key and value still fit."""
        declared = self.declared
        sizes = (definition.key_size, definition.value_size)
        if sizes != (declared.key_size, declared.value_size):
            return False
        if definition.type == declared.type:
            return True
        from lskel.catalog.map_types import accepts_types

        return accepts_types(definition.type, has_number_keys=self._has_number_keys)

    @property
    def _has_number_keys(self) -> bool:
        """Whether keys are 32-bit integers, by BTF."""
        return False


# By the names of the fields in `bpf.settable`.
_TYPES = ("key_type", "value_type")
