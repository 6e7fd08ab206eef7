"""A cache of texts for types: programs, maps and relocations need the same ones."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar
from weakref import WeakKeyDictionary

from lskel.btf.btf import Btf

_Key = TypeVar("_Key", bound=Hashable)
_Said = TypeVar("_Said")


def once(say: Callable[[Btf, _Key], _Said]) -> Callable[[Btf, _Key], _Said]:
    """Cache the results of `say` for the lifetime of the BTF."""
    known: WeakKeyDictionary[Btf, dict[_Key, _Said]] = WeakKeyDictionary()

    def said(btf: Btf, key: _Key) -> _Said:
        of_btf = known.setdefault(btf, {})
        if key not in of_btf:
            of_btf[key] = say(btf, key)
        return of_btf[key]

    return said
