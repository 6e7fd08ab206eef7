"""Objects whose attributes are settings: a misspelt one is refused, not kept without effect."""

from __future__ import annotations

from lskel.errors import unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lskel.errors import UnknownName


def nothing() -> None:
    """What is called where there is nothing to do."""


class Settings:
    """A base class; `_fixed` says that no new public attributes may appear.

    `_settable` are the attributes for settings, in the order in which they depend on each other.
    """

    _fixed = False
    _settable: tuple[str, ...] = ()
    # What only the collection uses.
    _internal: frozenset[str] = frozenset()

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in self._internal]

    if not TYPE_CHECKING:

        def __setattr__(self, name, value):
            is_known = name.startswith("_") or hasattr(type(self), name) or name in vars(self)
            if self._fixed and not is_known:
                raise self._unknown_setting(name)
            object.__setattr__(self, name, value)

    @property
    def _called(self) -> str:
        """What errors call it."""
        raise NotImplementedError

    def _unknown_setting(self, name: str) -> UnknownName:
        error = unknown("setting", name, self._settable)
        error.places.insert(0, self._called)
        return error

    def set(self, settings: Mapping[str, Any]) -> None:
        """Set several attributes; those of `inner_map` as a dict. Errors as for each of them."""
        for name in settings:
            if name not in self._settable:
                raise self._unknown_setting(name)
        for name in self._settable:
            if name in settings:
                value = settings[name]
                held = getattr(self, name) if isinstance(value, dict) else None
                if isinstance(held, Settings):
                    held.set(value)
                else:
                    setattr(self, name, value)
