"""The disassembler: every instruction of RFC 9669 as one line of text, in the kernel's style.

A table maps opcodes to templates. The fields that a template does not print are reserved, so
remarks on invalid instructions, after a `;`, follow from the table as well. Nothing here raises:
bytes that are not an instruction are printed as data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import NamedTuple

from lskel.bpf import insn as i
from lskel.bpf import poison
from lskel.bpf.helpers import HELPERS
from lskel.bpf.insn import CallKind, Insn, Pseudo
from lskel.cursor import ByteOrder

REGISTERS = 11


def _unnamed(*_: int) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Names:
    """Names for the numbers in the code, from the caller; each function may return None.

    map: (MAP_FD, MAP_VALUE, MAP_IDX or MAP_IDX_VALUE; fd or index in fd_array).
    kfunc: (BTF id; 0 for vmlinux, else the index of the module's BTF in fd_array).
    subprogram: (index of its first slot).
    variable: (BTF id of a kernel variable; 0 for vmlinux, else the fd of the module's BTF).
    """

    map: Callable[[Pseudo, int], str | None] = _unnamed
    kfunc: Callable[[int, int], str | None] = _unnamed
    subprogram: Callable[[int], str | None] = _unnamed
    variable: Callable[[int, int], str | None] = _unnamed


NO_NAMES = Names()


@dataclass(frozen=True, slots=True)
class Line:
    """One instruction: the index of its first slot, its 8 or 16 bytes (a cut tail has fewer)."""

    index: int
    raw: bytes
    text: str

    def __str__(self) -> str:
        return f"{self.index:4}: {self.raw.hex(' '):23} {self.text}"


@dataclass(frozen=True, slots=True)
class _Site:
    insn: Insn
    second: Insn
    names: Names
    index: int


class _Form(NamedTuple):
    """The format of an instruction, and the fields that it uses ("wide": second imm)."""

    text: Callable[[_Site], str]
    uses: frozenset[str]


class _Family(NamedTuple):
    """The forms of one opcode, selected by the value of a field ("" if there is only one)."""

    selector: str
    forms: Mapping[int, _Form]


def _form(template: str) -> _Form:
    uses = frozenset(field for _, field, _, _ in Formatter().parse(template) if field)

    def text(site: _Site) -> str:
        _, dst, src, off, imm = site.insn
        return template.format(dst=dst, src=src, off=off, imm=imm)

    return _Form(text, uses)


def _only(template: str) -> _Family:
    return _Family("", {0: _form(template)})


def _choice(selector: str, templates: Mapping[int, str]) -> _Family:
    return _Family(selector, {value: _form(template) for value, template in templates.items()})


# RFC 9669 section 4.1.
_BINARY = {
    i.ADD: "+=",
    i.SUB: "-=",
    i.MUL: "*=",
    i.OR: "|=",
    i.AND: "&=",
    i.LSH: "<<=",
    i.RSH: ">>=",
    i.XOR: "^=",
    i.ARSH: "s>>=",
}
_DIVISION = {i.DIV: "/=", i.MOD: "%="}
_SIGNED = 1
# Offsets of a register move: sign extension (section 4.1), and two address space casts of the
# kernel (BPF_ADDR_SPACE_CAST; BPF_ADDR_PERCPU, only emitted by the verifier).
_SPACE_CAST, _PERCPU_CAST = 1, -1


def _space_cast(site: _Site) -> str:
    _, dst, src, _, imm = site.insn
    return f"r{dst} = addr_space_cast(r{src}, {imm >> 16 & 0xFFFF}, {imm & 0xFFFF})"


def _arithmetic() -> Iterator[tuple[int, _Family]]:
    for cls, r in ((i.ALU64, "r"), (i.ALU, "w")):
        for source, operand in ((i.X, f"{r}{{src}}"), (i.K, "{imm}")):
            for code, sign in _BINARY.items():
                yield cls | code | source, _only(f"{r}{{dst}} {sign} {operand}")
            for code, sign in _DIVISION.items():
                signs = {0: sign, _SIGNED: f"s{sign}"}
                yield (
                    cls | code | source,
                    _choice("off", {off: f"{r}{{dst}} {s} {operand}" for off, s in signs.items()}),
                )
        yield cls | i.NEG | i.K, _only(f"{r}{{dst}} = -{r}{{dst}}")
        yield cls | i.MOV | i.K, _only(f"{r}{{dst}} = {{imm}}")
    moves = {0: "w{dst} = w{src}", 8: "w{dst} = (s8)w{src}", 16: "w{dst} = (s16)w{src}"}
    yield i.ALU | i.MOV | i.X, _choice("off", moves)
    moves = {off: text.replace("w", "r") for off, text in moves.items()}
    moves |= {32: "r{dst} = (s32)r{src}", _PERCPU_CAST: "r{dst} = &(void __percpu *)(r{src})"}
    wide_moves = dict(_choice("off", moves).forms)
    wide_moves[_SPACE_CAST] = _Form(_space_cast, frozenset(("dst", "src", "imm")))
    yield i.ALU64 | i.MOV | i.X, _Family("off", wide_moves)
    for op, name in (
        (i.ALU | i.END | i.K, "le"),
        (i.ALU | i.END | i.X, "be"),
        (i.ALU64 | i.END | i.K, "bswap"),
    ):
        swaps = {bits: f"r{{dst}} = {name}{bits} r{{dst}}" for bits in (16, 32, 64)}
        yield op, _choice("imm", swaps)


# Section 4.3.
_CONDITIONS = {
    i.JEQ: "==",
    i.JGT: ">",
    i.JGE: ">=",
    i.JSET: "&",
    i.JNE: "!=",
    i.JSGT: "s>",
    i.JSGE: "s>=",
    i.JLT: "<",
    i.JLE: "<=",
    i.JSLT: "s<",
    i.JSLE: "s<=",
}
# BPF_JCOND (Linux 6.9): a jump with a condition of the kernel; 0 is BPF_MAY_GOTO.
_JCOND = 0xE0
_POISON = (
    (
        range(poison.FAILED_RELOCATION, poison.FAILED_RELOCATION + 1),
        "poison: a CO-RE relocation failed",
    ),
    (range(poison.NO_MAP, poison.NO_MAP + 10**6), "poison: the map was not created"),
    (range(poison.NO_KFUNC, poison.NO_KFUNC + 10**6), "poison: the kfunc was not found"),
)


def _call_helper(site: _Site) -> str:
    helper = site.insn.imm
    if 0 <= helper < len(HELPERS):
        return f"call bpf_{HELPERS[helper]}#{helper}"
    why = next((f" ; {text}" for numbers, text in _POISON if helper in numbers), "")
    return f"call unknown#{helper}{why}"


def _call_subprogram(site: _Site) -> str:
    distance = site.insn.imm
    name = site.names.subprogram(site.index + 1 + distance)
    return f"call pc{distance:+d}" if name is None else f"call {name} (pc{distance:+d})"


def _call_kfunc(site: _Site) -> str:
    _, _, _, module, type_id = site.insn
    name = site.names.kfunc(type_id, module) or "kfunc"
    return f"call {name}#{type_id}" + (f" (module {module})" if module else "")


def _jumps() -> Iterator[tuple[int, _Family]]:
    for cls, r in ((i.JMP, "r"), (i.JMP32, "w")):
        for source, operand in ((i.X, f"{r}{{src}}"), (i.K, "{imm:#x}")):
            for code, sign in _CONDITIONS.items():
                condition = f"if {r}{{dst}} {sign} {operand}"
                yield cls | code | source, _only(f"{condition} goto {{off:+d}}")
    yield i.JMP | i.JA | i.K, _only("goto {off:+d}")
    yield i.OP_GOTOX, _only("gotox r{dst}")
    yield i.JMP32 | i.JA | i.K, _only("gotol {imm:+d}")
    yield i.JMP | _JCOND, _choice("src", {0: "may_goto {off:+d}"})
    yield i.OP_EXIT, _only("exit")
    calls: dict[int, _Form] = {
        CallKind.HELPER: _Form(_call_helper, frozenset(("imm",))),
        CallKind.SUBPROGRAM: _Form(_call_subprogram, frozenset(("imm",))),
        CallKind.KFUNC: _Form(_call_kfunc, frozenset(("off", "imm"))),
    }
    yield i.OP_CALL, _Family("src", calls)
    yield i.OP_CALL | i.X, _only("callx r{dst}")


# Sections 5.1 to 5.3. The numbers are atomic operations; FETCH returns the old value.
_ATOMIC = {i.ADD: ("+=", "add"), i.OR: ("|=", "or"), i.AND: ("&=", "and"), i.XOR: ("^=", "xor")}
_FETCH = 0x01
_XCHG, _CMPXCHG = 0xE0 | _FETCH, 0xF0 | _FETCH
_LOAD_ACQUIRE, _STORE_RELEASE = 0x100, 0x110


def _atomics(bits: int) -> dict[int, str]:
    cell = f"(u{bits} *)(r{{dst}} {{off:+d}})"
    prefix = "atomic64" if bits == 64 else "atomic"
    templates = {
        _XCHG: f"r{{src}} = {prefix}_xchg({cell}, r{{src}})",
        _CMPXCHG: f"r0 = {prefix}_cmpxchg({cell}, r0, r{{src}})",
    }
    for code, (sign, name) in _ATOMIC.items():
        templates[code] = f"lock *{cell} {sign} r{{src}}"
        templates[code | _FETCH] = f"r{{src}} = {prefix}_fetch_{name}({cell}, r{{src}})"
    return templates


def _memory() -> Iterator[tuple[int, _Family]]:
    for size, code in i.SIZE_CODE.items():
        bits = 8 * size
        yield i.LDX | i.MEM | code, _only(f"r{{dst}} = *(u{bits} *)(r{{src}} {{off:+d}})")
        yield i.STX | i.MEM | code, _only(f"*(u{bits} *)(r{{dst}} {{off:+d}}) = r{{src}}")
        yield i.ST | i.MEM | code, _only(f"*(u{bits} *)(r{{dst}} {{off:+d}}) = {{imm}}")
        ordered = {
            _LOAD_ACQUIRE: f"r{{dst}} = load_acquire((u{bits} *)(r{{src}} {{off:+d}}))",
            _STORE_RELEASE: f"store_release((u{bits} *)(r{{dst}} {{off:+d}}), r{{src}})",
        }
        yield (
            i.STX | i.ATOMIC | code,
            _choice("imm", ordered | _atomics(bits) if size >= 4 else ordered),
        )
        if size < 8:
            yield i.LDX | i.MEMSX | code, _only(f"r{{dst}} = *(s{bits} *)(r{{src}} {{off:+d}})")
            yield i.LD | i.ABS | code, _only(f"r0 = *(u{bits} *)skb[{{imm}}]")
            yield i.LD | i.IND | code, _only(f"r0 = *(u{bits} *)skb[r{{src}} {{imm:+d}}]")


def _labelled(label: object, name: str | None) -> str:
    return f"{label}" if name is None else f"{label}:'{name}'"


def _load_imm64(site: _Site) -> str:
    value = (site.second.imm & 0xFFFFFFFF) << 32 | site.insn.imm & 0xFFFFFFFF
    return f"r{site.insn.dst} = {value:#x}"


def _load_variable(site: _Site) -> str:
    type_id, module = site.insn.imm, site.second.imm
    name = site.names.variable(type_id, module)
    text = f"r{site.insn.dst} = btf[{_labelled(type_id, name)}]"
    return text + (f" (module fd {module})" if module else "")


def _load_function(site: _Site) -> str:
    distance = site.insn.imm
    name = site.names.subprogram(site.index + 1 + distance)
    return f"r{site.insn.dst} = subprog[{_labelled(f'{distance:+d}', name)}]"


def _load_map(pseudo: Pseudo, unit: str, *, value: bool) -> _Form:
    def text(site: _Site) -> str:
        number = site.insn.imm
        name = site.names.map(pseudo, number)
        label = f"{unit}:{number}" if name is None else _labelled(number, name)
        offset = f" {site.second.imm:+d}" if value else ""
        return f"r{site.insn.dst} = map[{label}]{offset}"

    return _Form(text, frozenset(("dst", "imm", "wide") if value else ("dst", "imm")))


# Section 5.4.
_WIDE: dict[int, _Form] = {
    Pseudo.IMM64: _Form(_load_imm64, frozenset(("dst", "imm", "wide"))),
    Pseudo.MAP_FD: _load_map(Pseudo.MAP_FD, "fd", value=False),
    Pseudo.MAP_VALUE: _load_map(Pseudo.MAP_VALUE, "fd", value=True),
    Pseudo.BTF_ID: _Form(_load_variable, frozenset(("dst", "imm", "wide"))),
    Pseudo.FUNC: _Form(_load_function, frozenset(("dst", "imm"))),
    Pseudo.MAP_IDX: _load_map(Pseudo.MAP_IDX, "idx", value=False),
    Pseudo.MAP_IDX_VALUE: _load_map(Pseudo.MAP_IDX_VALUE, "idx", value=True),
}

_FAMILIES: dict[int, _Family] = {
    **dict(_arithmetic()),
    **dict(_jumps()),
    **dict(_memory()),
    i.OP_LD_IMM64: _Family("src", _WIDE),
}


def _remarks(site: _Site, selector: str, uses: frozenset[str]) -> Iterator[str]:
    _, dst, src, off, imm = site.insn
    for register, field in ((dst, "dst"), (src, "src")):
        if register >= REGISTERS and field in uses:
            yield f"no r{register}"
    second = site.second
    fields = {"dst": dst, "src": src, "off": off, "imm": imm, "wide": second.imm}
    for field, value in fields.items():
        if value and field not in uses and field != selector:
            yield f"reserved {field} is {value:#x}"
    if (second.op, second.dst, second.src, second.off) != (0, 0, 0, 0):
        yield "reserved fields of the second slot are not 0"


def _data(insn: Insn, order: ByteOrder, remark: str) -> str:
    return f".8byte {int.from_bytes(insn.encode(order), order):#018x} ; {remark}"


def format_insn(
    insn: Insn,
    second: Insn | None = None,
    names: Names = NO_NAMES,
    index: int = 0,
    order: ByteOrder = "little",
) -> str:
    """One instruction as text, in the kernel's style; remarks follow ` ; `.

    `second` is the other slot of an ld_imm64; `index` (in slots) is the instruction's position;
    `order` is only used for slots that are printed as data.
    """
    family = _FAMILIES.get(insn.op)
    if family is None:
        return _data(insn, order, f"unknown opcode {insn.op:#04x}")
    selected: int = getattr(insn, family.selector) if family.selector else 0
    form = family.forms.get(selected)
    if form is None:
        return _data(
            insn, order, f"opcode {insn.op:#04x} with unknown {family.selector} {selected:#x}"
        )
    if i.is_wide(insn) and second is None:
        return _data(insn, order, "ld_imm64 without its second slot")
    site = _Site(insn, second or Insn(0), names, index)
    return " ; ".join((form.text(site), *_remarks(site, family.selector, form.uses)))


def disassemble(code: bytes, order: ByteOrder, names: Names = NO_NAMES) -> Iterator[Line]:
    """All of `code`, one line per instruction; the joined `raw` of all lines is `code`."""
    slots = i.count(code)
    index = 0
    while index < slots:
        insn = i.read(code, index, order)
        second = None
        if i.is_wide(insn) and index + 1 < slots:
            following = i.read(code, index + 1, order)
            # Only second slots have opcode 0: anything else is the next instruction.
            second = following if following.op == 0 else None
        text = format_insn(insn, second, names, index, order)
        end = index + (1 if second is None else 2)
        yield Line(index, code[index * i.SIZE : end * i.SIZE], text)
        index = end
    if tail := code[slots * i.SIZE :]:
        values = ", ".join(f"{byte:#04x}" for byte in tail)
        yield Line(index, tail, f".byte {values} ; {len(tail)} bytes are not a whole instruction")
