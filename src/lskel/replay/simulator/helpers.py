"""The helpers for loader programs, on top of a simulated kernel.

Pointers that the verifier checks (to the stack or the blob) are checked like those of the
interpreter: a MemoryFault stops the program. Others return EFAULT.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from lskel import budget
from lskel.bpf.flags import ElementFlag
from lskel.bpf.helpers import HELPER_IDS
from lskel.replay.simulator.addresses import Addresses
from lskel.replay.simulator.syscall.errnos import Errno, Refusal, check
from lskel.replay.simulator.syscall.maps import SimulatedMap
from lskel.replay.simulator.syscall.space import Domain
from lskel.replay.simulator.syscall.storage import Element

if TYPE_CHECKING:
    from lskel.replay.simulator.kernel import SimulatedKernel
    from lskel.replay.simulator.machine import Helper, Interpreter

# BPF_MAX_LOOPS (include/linux/bpf.h)
MAX_LOOPS = 1 << 23
_U32 = (1 << 32) - 1


class Env(NamedTuple):
    """The environment of helpers."""

    kernel: SimulatedKernel
    addresses: Addresses


_Body = Callable[[Env, "Interpreter", int, int, int, int, int], int]


def helpers(env: Env) -> dict[int, Helper]:
    """All helpers by their ids."""
    return {HELPER_IDS[name]: _bind(env, body) for name, body in _HELPERS.items()}


def _bind(env: Env, body: _Body) -> Helper:
    def helper(machine: Interpreter, a: int, b: int, c: int, d: int, e: int) -> int:
        env.kernel.state.calls.spend()
        try:
            return body(env, machine, a, b, c, d, e)
        except Refusal as refusal:
            return -refusal.errno

    return helper


# -- the system calls ---------------------------------------------------------------------------


def _sys_bpf(env: Env, m: Interpreter, cmd: int, attr: int, size: int, *_: int) -> int:
    size &= _U32
    if size:
        m.memory.find(attr, size)
    return env.kernel.sys_bpf(cmd & _U32, attr, size)


def _sys_close(env: Env, m: Interpreter, fd: int, *_: int) -> int:
    return env.kernel.close(fd & _U32)


def _find_type(
    env: Env, m: Interpreter, name: int, size: int, kind: int, flags: int, _: int
) -> int:
    return env.kernel.find_type(m.memory.read(name, size & _U32), kind & _U32, flags & _U32)


def _find_symbol(
    env: Env, m: Interpreter, name: int, size: int, flags: int, res: int, _: int
) -> int:
    m.memory.store(res, 8, 0)
    ret, address = env.kernel.find_symbol(m.memory.read(name, size & _U32), flags & _U32)
    m.memory.store(res, 8, address)
    return ret


# -- memory ---------------------------------------------------------------------------------------


def _copy(domain: Domain, errno: Errno) -> _Body:
    """Copy from one domain; if not readable, fill with zeros and return this errno."""

    def body(env: Env, m: Interpreter, dst: int, size: int, src: int, *_: int) -> int:
        size &= _U32
        if size:
            m.memory.find(dst, size, write=True)
        try:
            m.memory.write(dst, env.kernel.state.space.read(src, size, domain))
        except Refusal:
            m.memory.write(dst, bytes(size))
            raise Refusal(errno) from None
        return 0

    return body


# -- maps, as programs use them -------------------------------------------------------------------


def _lookup(env: Env, m: Interpreter, owner: int, key: int, *_: int) -> int:
    found = env.addresses.map_at(owner)
    name = m.memory.read(key, found.key_size)
    try:
        element = found.storage.lookup(name, b"")
    except Refusal:
        return 0
    if isinstance(element, SimulatedMap):
        return env.addresses.of_map(element)
    return env.addresses.of_element(found, name, element) if isinstance(element, bytearray) else 0


def _update(env: Env, m: Interpreter, owner: int, key: int, value: int, flags: int, _: int) -> int:
    found = env.addresses.map_at(owner)
    name = m.memory.read(key, found.key_size)
    content = m.memory.read(value, found.value_size)
    check(not flags & ElementFlag.LOCK)

    def take() -> Element:
        found.pay(env.kernel.state)
        return bytearray(_with_other_cpus(found, name, content))

    found.storage.update(name, take, flags)
    return 0


def _with_other_cpus(owner: SimulatedMap, key: bytes, content: bytes) -> bytes:
    """A program changes only the value of its own CPU, the first one."""
    if not owner.row.per_cpu:
        return content
    try:
        old = owner.storage.lookup(key, b"")
    except Refusal:
        old = bytearray()
    assert isinstance(old, bytearray)
    return (content + bytes(old[len(content) :])).ljust(owner.element_size, b"\0")


def _delete(env: Env, m: Interpreter, owner: int, key: int, *_: int) -> int:
    found = env.addresses.map_at(owner)
    found.storage.delete(m.memory.read(key, found.key_size))
    return 0


# -- the rest -------------------------------------------------------------------------------------


def _loop(env: Env, m: Interpreter, count: int, function: int, ctx: int, flags: int, _: int) -> int:
    count &= _U32
    check(flags == 0)
    check(count <= MAX_LOOPS, Errno.E2BIG)
    for index in range(count):
        if m.call(function, index, ctx):
            return index + 1
    return count


# The kernel truncates the text far below a width of three digits.
_CONVERSION = re.compile(rb"%(%|(-?0?\d{0,3})((?:l|ll|h|hh)?)([diuxXpcs]))")
_LENGTHS = {b"": 32, b"l": 64, b"ll": 64, b"h": 16, b"hh": 8}


def _trace_printk(env: Env, m: Interpreter, fmt: int, size: int, *args: int) -> int:
    template = m.memory.read(fmt, size & _U32)
    check(template[-1:] == b"\0")
    text = _format(env, template[:-1], list(args))
    env.kernel.printed.append(text.decode("utf-8", "backslashreplace"))
    return len(text)


def _format(env: Env, template: bytes, args: list[int]) -> bytes:
    """Conversions of trace_printk: up to three, without precisions, %pK and similar.

    The kernel's buffer has 1024 bytes, so no width needs more than three digits.
    """
    known = sum(match[1] != b"%" for match in _CONVERSION.finditer(template))
    check(known <= len(args) and b"%" not in _CONVERSION.sub(b"", template))

    def convert(match: re.Match[bytes]) -> bytes:
        if match[1] == b"%":
            return b"%"
        value, kind = args.pop(0), match[4]
        if kind == b"s":
            found = env.kernel.state.space.string(value, budget.STRING, Domain.KERNEL)
            return found.rjust(int(match[2].lstrip(b"-0") or 0))
        bits = 64 if kind == b"p" else _LENGTHS[match[3]]
        value &= (1 << bits) - 1
        if kind in b"di" and value >> bits - 1:
            value -= 1 << bits
        letter = {b"i": "d", b"u": "d", b"p": "x"}.get(kind, kind.decode())
        return f"%{match[2].decode()}{letter}".encode() % (value,)

    return _CONVERSION.sub(convert, template)


_HELPERS: dict[str, _Body] = {
    "sys_bpf": _sys_bpf,
    "sys_close": _sys_close,
    "btf_find_by_name_kind": _find_type,
    "kallsyms_lookup_name": _find_symbol,
    "probe_read_kernel": _copy(Domain.KERNEL, Errno.ERANGE),
    "copy_from_user": _copy(Domain.USER, Errno.EFAULT),
    "map_lookup_elem": _lookup,
    "map_update_elem": _update,
    "map_delete_elem": _delete,
    "loop": _loop,
    "trace_printk": _trace_printk,
}
