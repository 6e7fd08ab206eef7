"""Exception callbacks: what a program calls when it throws (bpf_throw, Linux 6.7).

A tag of the program's FUNC in BTF names the callback. No instruction does, so that nothing else
says that the subprogram belongs to the program.
"""

from __future__ import annotations

from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.ext import Records
from lskel.cursor import ByteOrder

_TAG = "exception_callback:"


class ExceptionCallbacks:
    """The callbacks that an object's BTF names."""

    def __init__(self, btf: Btf | None) -> None:
        self._names: dict[int, list[str]] = {}
        for _, found in btf or ():
            if isinstance(found, t.DeclTag) and found.component < 0 and found.name.startswith(_TAG):
                name = found.name.removeprefix(_TAG)
                self._names.setdefault(found.type, []).append(name)

    def of(self, func_info: Records, order: ByteOrder) -> str | None:
        """The name of the callback of the function that these records begin with.

        None where there is none, or where there are several: the verifier refuses them.
        """
        first = int.from_bytes(func_info.data[4:8], order)
        names = self._names.get(first, ())
        return names[0] if len(names) == 1 else None
