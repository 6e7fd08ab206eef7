"""Objects whose attributes are settings: a misspelt one is refused, not kept without effect."""

from __future__ import annotations

from lskel.errors import UnknownName

TYPE_CHECKING = False


def nothing() -> None:
    """What is called where there is nothing to do."""


class Settings:
    """A base class; `_fixed` says that no new public attributes may appear."""

    _fixed = False
    # What only the collection uses.
    _internal: frozenset[str] = frozenset()

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in self._internal]

    if not TYPE_CHECKING:

        def __setattr__(self, name, value):
            is_known = name.startswith("_") or hasattr(type(self), name) or name in vars(self)
            if self._fixed and not is_known:
                raise UnknownName(f"{type(self).__name__} has no attribute '{name}' to set")
            object.__setattr__(self, name, value)
