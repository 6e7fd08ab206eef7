"""The layout of struct __bpf_usdt_spec, by which programs find the arguments of USDT probes.

It belongs to bpf/usdt.bpf.h of the libbpf that a program was compiled with, so it is read from the
BTF of the program's map.
"""

from __future__ import annotations

import errno
import sys

from lskel.errors import NotSupported, UsageError
from lskel.light_typing import NamedTuple
from lskel.runtime import objects
from lskel.runtime.attach.usdt_arguments import Where
from lskel.runtime.info import btf_info
from lskel.runtime.syscall import BpfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lskel.btf import types as t
    from lskel.btf.btf import Btf
    from lskel.runtime.attach.usdt_arguments import Argument
    from lskel.runtime.info import MapInfo

SPECS_MAP = "__bpf_usdt_specs"

_HINT = "it is not that of bpf/usdt.bpf.h"
_ARGUMENT = ("val_off", "arg_type", "reg_off", "arg_signed", "arg_bitshift")
# For operands with an index register, since libbpf 1.7.
_SIB = ("idx_reg_off", "scale_bitshift")
_SPEC = ("args", "usdt_cookie", "arg_cnt")


class SpecField(NamedTuple):
    """A member in bits: its offset in its struct, counted as in BTF, and its width."""

    offset: int
    width: int


class SpecLayout(NamedTuple):
    """struct __bpf_usdt_spec: `size` bytes, with `room` arguments of `stride` bits at `args`.

    `argument` has the members of an argument, by their names in bpf/usdt.bpf.h.
    """

    size: int
    args: int
    room: int
    stride: int
    argument: Mapping[str, SpecField]
    usdt_cookie: SpecField
    arg_cnt: SpecField

    def encode(self, arguments: Sequence[Argument], cookie: int) -> bytes:
        """The spec in the byte order of this machine, with a mark in its padding.

        NotSupported for too many arguments, and for an index register before libbpf 1.7.
        """
        if len(arguments) > self.room:
            raise NotSupported(
                f"the probe has {len(arguments)} arguments, at most {self.room} are supported"
            )
        spec = self._put(self.usdt_cookie, cookie) | self._put(self.arg_cnt, len(arguments))
        for number, argument in enumerate(arguments):
            at = self.args + number * self.stride
            for name, value in _members(argument).items():
                if name in self.argument:
                    spec |= self._put(self.argument[name], value, at)
                elif argument.where is Where.SIB:
                    raise NotSupported(
                        f"argument {number} of the probe has an index register",
                        hint="compile the program with bpf/usdt.bpf.h of libbpf 1.7 or newer",
                    )
        # The last byte is padding.
        mark = SpecField(8 * self.size - 8, 8)
        return (spec | self._put(mark, 1)).to_bytes(self.size, sys.byteorder)

    def is_free(self, spec: bytes) -> bool:
        """Whether an element is not in use, that is, not from `encode`."""
        return not spec[-1]

    def _put(self, field: SpecField, value: int, at: int = 0) -> int:
        """A value in its place, in the number that the bytes of a spec are."""
        offset = at + field.offset
        if sys.byteorder == "big":
            offset = 8 * self.size - offset - field.width
        return value % (1 << field.width) << offset


def _members(argument: Argument) -> dict[str, int]:
    return {
        "val_off": argument.value,
        "arg_type": argument.where,
        "reg_off": argument.register,
        "arg_signed": argument.signed,
        "arg_bitshift": 64 - 8 * argument.size,
        "idx_reg_off": argument.index_register,
        "scale_bitshift": argument.shift,
    }


def _known(stride: int, *offsets: int) -> SpecLayout:
    """A layout of libbpf, for 12 arguments; `offsets` are those of the members, in bits."""
    widths = (64, 8, 16, 8, 8, 12, 4)
    fields = map(SpecField, offsets, widths)
    end = 12 * 8 * stride
    return SpecLayout(
        12 * stride + 16,
        0,
        12,
        8 * stride,
        dict(zip((*_ARGUMENT, *_SIB), fields)),  # noqa: B905 - the last two may be missing
        SpecField(end, 64),
        SpecField(end + 64, 16),
    )


# If the BTF is not known: those of libbpf 1.0 and 1.7 on little endian, by size.
_KNOWN = {
    layout.size: layout
    for layout in (
        _known(16, 0, 64, 96, 112, 120),
        _known(24, 0, 64, 112, 128, 136, 80, 92),
    )
}


def spec_layout(info: MapInfo) -> SpecLayout:
    """The layout of the map's values: by its BTF, without BTF by their size.

    UsageError if they are not of bpf/usdt.bpf.h.
    """
    raw = _btf_of(info)
    if raw:
        from lskel.btf.btf import Btf

        return _from_btf(Btf(raw), info)
    if sys.byteorder == "big" or info.value_size not in _KNOWN:
        raise UsageError(
            f"values of map '{SPECS_MAP}' have {info.value_size} bytes, and no BTF", hint=_HINT
        )
    return _KNOWN[info.value_size]


def _btf_of(info: MapInfo) -> bytes:
    """The map's BTF; empty if it has none, or without CAP_SYS_ADMIN, which an id takes."""
    if not info.btf_id:
        return b""
    try:
        with objects.by_id(objects.ObjectKind.BTF, info.btf_id) as btf:
            return btf_info(btf.fileno(), data=True).data
    except BpfError as error:
        if error.errno != errno.EPERM:
            raise
        return b""


def _from_btf(btf: Btf, info: MapInfo) -> SpecLayout:
    from lskel.btf import types as t

    spec = _struct(btf, info.btf_value_type_id, _SPEC)
    args = btf[btf.resolve(spec["args"].type)]
    if not isinstance(args, t.ArrayType):
        raise _unknown("args")
    argument = _struct(btf, args.type, _ARGUMENT)
    layout = SpecLayout(
        info.value_size,
        spec["args"].bit_offset,
        args.nelems,
        8 * btf.size_of(args.type),
        {name: _field(btf, argument[name]) for name in (*_ARGUMENT, *_SIB) if name in argument},
        _field(btf, spec["usdt_cookie"]),
        _field(btf, spec["arg_cnt"]),
    )
    ends = (
        layout.args + layout.room * layout.stride,
        *(field.offset + field.width for field in (layout.usdt_cookie, layout.arg_cnt)),
    )
    if max(ends) > 8 * layout.size - 8:
        raise _unknown("padding at the end")
    return layout


def _struct(btf: Btf, type_id: int, names: Sequence[str]) -> dict[str, t.BtfMember]:
    """The members by name, among them `names`."""
    from lskel.btf import types as t

    found = btf[btf.resolve(t.TypeId(type_id))]
    members = found.members if isinstance(found, t.StructType) else ()
    by_name = {member.name: member for member in members}
    for name in names:
        if name not in by_name:
            raise _unknown(name)
    return by_name


def _field(btf: Btf, member: t.BtfMember) -> SpecField:
    return SpecField(member.bit_offset, member.bitfield_size or 8 * btf.size_of(member.type))


def _unknown(name: str) -> UsageError:
    return UsageError(f"values of map '{SPECS_MAP}' have no '{name}'", hint=_HINT)
