"""Named tuples and generic classes without the price of `typing`.

Which takes longer to import than a loader to run.

Used by what a skeleton imports; elsewhere `typing.NamedTuple` is as good.
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
        """`typing.NamedTuple`, as far as it is a base class."""

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
        """A named tuple that equals those of its own class only."""

    class Generic:
        """`typing.Generic`, as far as it is a base class."""

        def __class_getitem__(cls, parameters):
            return cls
