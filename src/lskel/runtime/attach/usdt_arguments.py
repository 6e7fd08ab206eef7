"""Arguments of USDT probes, from assembler notation.

An argument is ``SIZE@OPERAND``: the size in bytes, negative if signed, and an operand in the
machine's assembler syntax. Source: "UserSpaceProbeImplementation" in the SystemTap wiki.
"""

from __future__ import annotations

from enum import IntEnum

from lskel.elf.format import ElfMachine
from lskel.errors import NotSupported
from lskel.light_typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_SIZES = (1, 2, 4, 8)


class Where(IntEnum):
    """enum __bpf_usdt_arg_type; SIB since libbpf 1.7."""

    CONST = 0
    REG = 1
    REG_DEREF = 2
    SIB = 3


class Argument(NamedTuple):
    """`value` is the constant, or the offset from the register for a memory operand.

    `register` is its offset in struct pt_regs; `size` is in bytes. For SIB,
    `index_register` is that of a register whose content is shifted left by `shift` and added.
    """

    where: Where
    value: int
    register: int
    size: int
    signed: bool
    index_register: int = 0
    shift: int = 0


class _Syntax(NamedTuple):
    """Regular expressions of operands, with groups "value", "register", "index" and "scale"."""

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
_INDEX = r"(?P<index>[a-z][a-z0-9]*)"


def _syntax(machine: int) -> _Syntax:
    if machine == ElfMachine.EM_X86_64:
        operands = {
            Where.CONST: rf"\${_NUMBER}",
            Where.REG: f"%{_NAME}",
            Where.REG_DEREF: rf"{_NUMBER}?\(%{_NAME}\)",
            Where.SIB: rf"{_NUMBER}?\(%{_NAME},%{_INDEX}(?:,(?P<scale>[1248]))?\)",
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

    NotSupported for operands that bpf/usdt.bpf.h cannot read (e.g. relative to a symbol, or
    floating point).
    """
    import re

    # Old notes have a colon if there are no arguments.
    words = [] if text.startswith(":") else re.findall(r"[^\s@]*@(?:\[[^\]]*\]?|\S*)|\S+", text)
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
        names = [name for name in (groups.get("register"), groups.get("index")) if name]
        if all(name in syntax.registers for name in names):
            register, index, *_ = *(syntax.registers[name] for name in names), 0, 0
            return Argument(
                where,
                int(groups.get("value") or "0", 0),
                register,
                abs(size),
                size < 0,
                index,
                int(groups.get("scale") or "1").bit_length() - 1,
            )
    raise NotSupported(
        f"argument {number} of the probe, '{text}', cannot be read by programs",
        hint="supported: constants, registers, and memory at an offset from a register",
    )
