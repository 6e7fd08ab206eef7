"""Read-only values: what a map holds that the kernel lets nobody change any more."""

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
    """A struct or union, copied from `data`, of which nothing can be assigned; arrays are tuples.

    It is of a subclass of `cls`. `hint` tells, in the error of an assignment, what to do instead.
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
