"""Named tuples and generic classes without importing `typing`.

Importing `typing` takes longer than running a loader.

Used by modules that a skeleton imports; elsewhere use `typing.NamedTuple`.
"""

from __future__ import annotations

__all__ = ["Distinct", "Generic", "NamedTuple"]

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Generic as Generic
    from typing import NamedTuple as Distinct
    from typing import NamedTuple as NamedTuple
else:
    from collections import namedtuple

    class _Meta(type):
        also = ()

        def __new__(cls, name, bases, namespace):
            if not bases:
                return type.__new__(cls, name, bases, namespace)
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = [namespace.pop(field) for field in fields if field in namespace]
            plain = namedtuple(name, fields, defaults=defaults, module=namespace["__module__"])
            namespace.setdefault("__slots__", ())
            return type(name, (*cls.also, plain), namespace)

    class NamedTuple(metaclass=_Meta):
        """`typing.NamedTuple`, as a base class only."""

    class _OwnClass:
        __slots__ = ()

        def __eq__(self, other):
            return type(self) is type(other) and tuple.__eq__(self, other)

        def __ne__(self, other):
            return not self == other

        def __hash__(self):
            return hash((type(self), *self))

    class _DistinctMeta(_Meta):
        also = (_OwnClass,)

    class Distinct(metaclass=_DistinctMeta):
        """A named tuple that only equals instances of the same class."""

    class Generic:
        """`typing.Generic`, as a base class only."""

        def __class_getitem__(cls, parameters):
            return cls
