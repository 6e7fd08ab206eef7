"""Declared types as classes of `lskel.runtime.values`."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from lskel.runtime import values
from lskel.skeleton.types import (
    ArrayOf,
    ClassOf,
    EnumClass,
    EnumOf,
    Scalar,
    StructClass,
    Text,
    TypeDeclarations,
    ValueType,
)


class TypeClasses:
    """Creates the classes of declared types on demand."""

    def __init__(self, types: TypeDeclarations) -> None:
        self._types = types
        self._made: dict[str, Any] = {}

    def value(self, kind: ValueType) -> Any:
        """The type, for `codec`."""
        match kind:
            case Scalar():
                return getattr(values, kind.name)
            case Text():
                return values.text(kind.length)
            case ArrayOf():
                return values.array(self.value(kind.element), kind.length)
            case EnumOf():
                return values.enum(self._class(kind.cls), self.value(kind.storage))
            case ClassOf():
                return self._class(kind.cls)

    def _class(self, name: str) -> Any:
        if name in self._made:
            return self._made[name]
        # In order of dependencies.
        for made in self._types.classes[len(self._made) :]:
            if isinstance(made, EnumClass):
                self._made[made.name] = IntEnum(made.name, list(made.values))
            else:
                self._made[made.name] = self._struct(made)
        return self._made[name]

    def _struct(self, made: StructClass) -> Any:
        base = values.Union if made.is_union else values.Struct
        fields: list[Any] = []
        for field in made.fields:
            kind = self.value(field.type)
            if isinstance(field.place, int):
                fields.append((field.name, kind, field.place))
            else:
                bits = field.place
                fields.append((field.name, values.Bits(bits.offset, bits.width, kind)))
        cls = type(str(made.name), (base,), {"__module__": __name__})
        return values.layout(made.size, *fields)(cls)
