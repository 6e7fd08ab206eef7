"""Read-only values, of frozen maps."""

from __future__ import annotations

from lskel.errors import ReadOnly
from lskel.runtime.values.arrays import Array
from lskel.runtime.values.codec import derived
from lskel.runtime.values.structs import Composite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from lskel.runtime.values.codec import Buffer

    C = TypeVar("C", bound=Composite)


def frozen(cls: type[C], data: Buffer, hint: str = "") -> C:
    """A read-only copy of a struct or union from `data`; arrays are tuples.

    It is an instance of a subclass of `cls`. `hint` is for the error of an assignment.
    """
    made: C = _frozen_class(cls, hint).from_buffer_copy(data)
    return made


def _frozen_class(cls: type[Any], hint: str) -> type[Any]:
    found: type[Any] | None = derived(cls).get(("frozen", hint))
    if found is None:

        def refuse(self: Any, name: str, value: object = None) -> None:
            raise ReadOnly(f"{cls.__name__}.{name} is read-only", hint=hint)

        namespace: dict[str, Any] = {"__slots__": (), "__setattr__": refuse, "__delattr__": refuse}
        for name, ctype in cls._members_.items():
            if issubclass(ctype, (Array, Composite)):
                namespace[name] = _reader(getattr(cls, name), hint)
        found = derived(cls)["frozen", hint] = type(cls.__name__, (cls,), namespace)
    return found


def _reader(field: Any, hint: str) -> property:
    return property(lambda instance: _freeze(field.__get__(instance), hint))


def _freeze(value: Any, hint: str) -> Any:
    if isinstance(value, Array):
        return tuple(_freeze(item, hint) for item in value)
    if isinstance(value, Composite):
        return _frozen_class(type(value), hint).from_buffer_copy(value)
    return value
