"""Arguments of USDT probes: from assembler notation to the spec for bpf/usdt.bpf.h.

An argument is ``SIZE@OPERAND``: the size in bytes, negative if signed, and an operand in the
machine's assembler syntax. Source: "UserSpaceProbeImplementation" in the SystemTap wiki; the layout
is that of struct __bpf_usdt_spec in bpf/usdt.bpf.h.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from lskel.elf.format import ElfMachine
from lskel.errors import NotSupported
from lskel.light_typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_ARGUMENTS = 12
_SIZES = (1, 2, 4, 8)

# struct __bpf_usdt_arg_spec: val_off, arg_type, reg_off, arg_signed, arg_bitshift.
_ARGUMENT = struct.Struct("=QIh?b")
# The rest of struct __bpf_usdt_spec: usdt_cookie, arg_cnt; the last two bytes are padding, and mark
# the element as in use here.
_REST = struct.Struct("=Qh4xH")
SPEC_SIZE = MAX_ARGUMENTS * _ARGUMENT.size + _REST.size


class Where(IntEnum):
    """enum __bpf_usdt_arg_type."""

    CONST = 0
    REG = 1
    REG_DEREF = 2


class Argument(NamedTuple):
    """`value` is the constant, or the offset from the register for a memory operand.

    `register` is its offset in struct pt_regs; `size` is in bytes.
    """

    where: Where
    value: int
    register: int
    size: int
    signed: bool


class _Syntax(NamedTuple):
    """Regular expressions of operands, with groups "value" and "register"."""

    registers: Mapping[str, int]
    operands: Mapping[Where, str]


def _x86_64_registers() -> dict[str, int]:
    # struct pt_regs of arch/x86/include/uapi/asm/ptrace.h, 8 bytes each.
    order = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp"
    places = {name: 8 * number for number, name in enumerate(order.split())}
    names = {"rip": places["rip"], "eip": places["rip"]}
    for number in range(8, 16):
        names.update({f"r{number}{end}": places[f"r{number}"] for end in ("", "d", "w", "b")})
    for letter in "abcd":
        parts = (f"r{letter}x", f"e{letter}x", f"{letter}x", f"{letter}l")
        names.update(dict.fromkeys(parts, places[f"r{letter}x"]))
    for name in ("si", "di", "bp", "sp"):
        names.update(dict.fromkeys((f"r{name}", f"e{name}", name, f"{name}l"), places[f"r{name}"]))
    return names


def _aarch64_registers() -> dict[str, int]:
    # struct user_pt_regs of arch/arm64/include/uapi/asm/ptrace.h: 31 registers, then sp.
    names = {f"{kind}{number}": 8 * number for number in range(31) for kind in "xw"}
    return {**names, "sp": 8 * 31}


_NUMBER = r"(?P<value>[-+]?(?:0[xX][0-9a-fA-F]{1,16}|0|[1-9]\d{0,19}))"
_NAME = r"(?P<register>[a-z][a-z0-9]*)"


def _syntax(machine: int) -> _Syntax:
    if machine == ElfMachine.EM_X86_64:
        operands = {
            Where.CONST: rf"\${_NUMBER}",
            Where.REG: f"%{_NAME}",
            Where.REG_DEREF: rf"{_NUMBER}?\(%{_NAME}\)",
        }
        return _Syntax(_x86_64_registers(), operands)
    if machine == ElfMachine.EM_AARCH64:
        operands = {
            Where.CONST: _NUMBER,
            Where.REG: _NAME,
            Where.REG_DEREF: rf"\[\s*{_NAME}\s*(?:,\s*{_NUMBER}\s*)?\]",
        }
        return _Syntax(_aarch64_registers(), operands)
    raise NotSupported(
        f"probe arguments for ELF machine {machine}", hint="only x86-64 and arm64 are supported"
    )


def parse_arguments(text: str, machine: int) -> tuple[Argument, ...]:
    """The arguments of a probe's note, for `machine`, the file's e_machine.

    NotSupported for operands that bpf/usdt.bpf.h cannot read (e.g. relative to a symbol, with an
    index register, or floating point), and for more than `MAX_ARGUMENTS`.
    """
    import re

    # Old notes have a colon if there are no arguments.
    words = [] if text.startswith(":") else re.findall(r"[^\s@]*@(?:\[[^\]]*\]?|\S*)|\S+", text)
    if len(words) > MAX_ARGUMENTS:
        raise NotSupported(f"the probe has {len(words)} arguments, at most 12 are supported")
    if not words:
        return ()
    syntax = _syntax(machine)
    return tuple(_argument(word, number, syntax) for number, word in enumerate(words))


def _argument(text: str, number: int, syntax: _Syntax) -> Argument:
    import re

    size_text, _, operand = text.partition("@")
    size = int(size_text) if re.fullmatch(r"[-+]?\d{1,3}", size_text) else 0
    if abs(size) not in _SIZES:
        raise NotSupported(
            f"argument {number} of the probe, '{text}', is not an integer of 1 to 8 bytes"
        )
    for where, pattern in syntax.operands.items():
        found = re.fullmatch(pattern, operand)
        if found is None:
            continue
        groups = found.groupdict()
        register = groups.get("register")
        if register is None or register in syntax.registers:
            return Argument(
                where,
                int(groups.get("value") or "0", 0),
                syntax.registers[register] if register else 0,
                abs(size),
                size < 0,
            )
    raise NotSupported(
        f"argument {number} of the probe, '{text}', cannot be read by programs",
        hint="supported: constants, registers, and memory at an offset from a register",
    )


def encode_spec(arguments: Sequence[Argument], cookie: int) -> bytes:
    """`struct __bpf_usdt_spec` in the byte order of this machine."""
    packed = b"".join(
        _ARGUMENT.pack(a.value % (1 << 64), a.where, a.register, a.signed, 64 - 8 * a.size)
        for a in arguments
    )
    return packed.ljust(SPEC_SIZE - _REST.size, b"\0") + _REST.pack(cookie, len(arguments), 1)


def is_free(spec: bytes) -> bool:
    """Whether an element is not in use, that is, not from `encode_spec`."""
    return not _REST.unpack_from(spec, SPEC_SIZE - _REST.size)[-1]
