"""Values of registers and stack slots: the verifier's notation as data and in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Value(NamedTuple):
    """`kind` is the kernel's word, such as ``map_value`` or ``scalar``, without ``_or_null``.

    `name` is what it points to, if the log has it: the struct of ``ptr_task_struct``, the
    map of ``map_value(map=counts,...)``. `attrs` are the attributes in their order; a chained one
    (``smin=smin32=0``) is there under each of its names. `text` is the value as in the log.
    """

    kind: str
    text: str
    name: str = ""
    or_null: bool = False
    attrs: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        """An attribute; None if the value lacks it."""
        return next((value for key, value in self.attrs if key == name), None)

    def number(self, name: str) -> int | None:
        """A numeric attribute.

        Since 6.8 the kernel prints large and very negative numbers as unsigned hexadecimal.
        """
        number = _number(self.get(name))
        if number is None or number <= _S64_MAX or name.startswith("u"):
            return number
        return number - (1 << 64)


SCALAR = "scalar"
STACK = "fp"
# Eight stack bytes, one letter per byte (slot_type_char in kernel/bpf/log.c).
BYTES = "bytes"

_S64_MAX = (1 << 63) - 1
# Larger bounds are not useful.
_HUGE = 1 << 60
# No number of the kernel is longer.
_DIGITS = 24

_BYTE_KINDS = {"?": "uninitialised", "m": "data", "0": "zero", "r": "a saved register"}
_NAMED = re.compile(
    r"(?P<flags>(?:(?:trusted|untrusted|rcu|user|percpu|alloc|non_own_ref|rdonly)_)*)"
    r"ptr_(?P<null>or_null_)?(?P<name>\w*)"
)
_VALUE = re.compile(r"(?P<word>[a-zA-Z_]\w*?)(?P<at>\[\d+\])?(?:\((?P<attrs>.*)\))?")
# 6.18 prints fp[1]-8 for another frame, kernels before 5.1 fp-8,call_-1, before 4.9 fp.
_STACK_ADDRESS = re.compile(r"fp(?:\[\d+\])?(?P<off>(?:[-+]?\d{1,9})?)(?:,call_-?\d+)?")
_CONSTANT = re.compile(r"(?:inv|scalar)?P?(-?(?:0x[0-9a-f]+|\d+))")
_SLOT = re.compile(r"[?m0rdifa]{8}")


def read_values(text: str) -> tuple[int, dict[str, Value]]:
    """The frame of a state, and the values of registers (``R1``) and stack slots (``fp-8``)."""
    frame = 0
    values = {}
    for token in _parts(text, " "):
        if token.startswith("frame"):
            frame = _number(token[5:].rstrip(":")) or 0
            continue
        where, sign, value = token.partition("=")
        if sign and where[:1] in ("R", "f"):
            values[where.split("_", 1)[0]] = read_value(value)
    return frame, values


def read_value(text: str) -> Value:
    """One value in the kernel's notation."""
    if found := _CONSTANT.fullmatch(text):
        return Value(SCALAR, text, attrs=(("imm", found[1]),))
    if found := _STACK_ADDRESS.fullmatch(text):
        return Value(STACK, text, attrs=(("off", found["off"]),))
    if _SLOT.fullmatch(text):
        return Value(BYTES, text)
    found = _VALUE.fullmatch(text.removeprefix("P") if text.startswith("P") else text)
    if found is None:
        return Value(text, text)
    word, attrs = found["word"], tuple(_attributes(found["attrs"] or ""))
    # "inv": kernels before 5.18; P marks precise values.
    if word in ("inv", "invP", "scalar", "Pscalar"):
        return Value(SCALAR, text, attrs=attrs)
    if named := _NAMED.fullmatch(word):
        flags = named["flags"]
        return Value(f"{flags}ptr", text, named["name"], named["null"] is not None, attrs)
    or_null = word.endswith("_or_null")
    name = next((value for key, value in attrs if key == "map"), "")
    return Value(word.removesuffix("_or_null"), text, name, or_null, attrs)


def _parts(text: str, separator: str) -> Iterator[str]:
    """The parts of a state or value; separators within brackets do not count."""
    depth, start = 0, 0
    for at, letter in enumerate(text):
        if letter in "([":
            depth += 1
        elif letter in ")]":
            depth -= 1
        elif letter == separator and depth <= 0:
            if at > start:
                yield text[start:at]
            start = at + 1
    if start < len(text):
        yield text[start:]


def _attributes(text: str) -> Iterator[tuple[str, str]]:
    for part in _parts(text, ","):
        *names, value = part.split("=")
        # Kernels before 5.18 print umin_value.
        yield from ((name.strip().removesuffix("_value"), value) for name in names)


def _number(text: str | None) -> int | None:
    try:
        return None if text is None or len(text) > _DIGITS else int(text, 0)
    except ValueError:
        return None


def _struct(name: str) -> str:
    return f"struct {name}" if name else "a kernel struct"


_WORDS = {
    "ctx": "the program's context",
    "pkt": "a pointer into the packet",
    "pkt_meta": "a pointer to the packet's metadata",
    "pkt_end": "the end of the packet",
    "map_key": "a pointer to a key of {map}",
    "map_value": "a pointer to a value of {map}",
    "map_ptr": "{map}",
    "mem": "a pointer to memory",
    "rdonly_mem": "a pointer to read-only memory",
    "ringbuf_mem": "a pointer to a record of a ring buffer",
    "alloc_mem": "a pointer to reserved memory",
    "buf": "a pointer to a buffer",
    "rdonly_buf": "a pointer to a read-only buffer",
    "rdwr_buf": "a pointer to a buffer",
    "tp_buffer": "a pointer to a tracepoint's buffer",
    "sock": "a pointer to a socket",
    "sock_common": "a pointer to a socket",
    "tcp_sock": "a pointer to a TCP socket",
    "xdp_sock": "a pointer to an XDP socket",
    "flow_keys": "a pointer to the flow keys",
    "func": "a function",
    "arena": "a pointer into the arena",
    "dynptr_ptr": "a dynptr",
    "ptr": "a pointer to {struct}",
    "trusted_ptr": "a trusted pointer to {struct}",
    "rcu_ptr": "a pointer to {struct}, valid in this RCU section",
    "untrusted_ptr": "an untrusted pointer to {struct}",
    "user_ptr": "a pointer to {struct} in user memory",
    "percpu_ptr": "a pointer to {struct} of each CPU",
    "alloc_ptr": "a pointer to {struct} that the program allocated",
}


def meaning(value: Value, map_name: str = "") -> str:
    """The value in words; `map_name` is used if the log lacks the map's name."""
    if value.kind == SCALAR:
        return _scalar(value)
    if value.kind == STACK:
        return f"the address of the stack at fp{value.number('off') or 0:+d}"
    if value.kind == BYTES:
        kinds = dict.fromkeys(_BYTE_KINDS.get(letter, "other") for letter in value.text)
        return f"8 bytes of stack: {', '.join(kinds)}"
    name = value.name or map_name
    words = _WORDS.get(value.kind)
    if words is None:
        text = value.kind
    else:
        text = words.format(map=f"map '{name}'" if name else "a map", struct=_struct(value.name))
    size = value.number("vs" if value.kind == "map_value" else "mem_size")
    if size is None:
        size = value.number("sz")
    notes = [f"{size} bytes"] if size else []
    checked = value.number("r") if value.kind == "pkt" else None
    if checked is not None and checked >= 0:
        notes.append(f"{checked} bytes checked")
    text += f" ({', '.join(notes)})" if notes else ""
    if off := value.number("off"):
        text += f", {'plus' if off > 0 else 'minus'} {abs(off)}"
    if value.kind != "map_ptr" and _bounds(value) and value.get("var_off") is not None:
        text += f", plus {_scalar(value)}"
    return f"{text}, or NULL" if value.or_null else text


def _bounds(value: Value) -> bool:
    return any(value.get(name) is not None for name in ("smin", "smax", "umin", "umax"))


def _scalar(value: Value) -> str:
    constant = value.number("imm")
    if constant is not None and len(value.attrs) == 1:
        return f"the number {constant}"
    least, most = value.number("smin"), value.number("smax")
    low, high = value.number("umin"), value.number("umax")
    # For a number that cannot be negative, the unsigned bounds are tighter.
    if high is not None and high <= _S64_MAX:
        least, most = max(least or 0, low or 0), high if most is None else min(most, high)
    least = None if least is None or least < -_HUGE else least
    most = None if most is None or most > _HUGE else most
    if least is None:
        return "any number" if most is None else f"a number of at most {most}, possibly negative"
    return f"a number of at least {least}" if most is None else f"a number from {least} to {most}"
