"""A replay as text, one call a line as strace prints them, and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

from lskel.bpf.disasm import disassemble
from lskel.bpf.enums import AttachType, MapType, ProgType
from lskel.bpf.names import enum_name
from lskel.cursor import ByteOrder
from lskel.replay.simulator.record import (
    Code,
    FdArray,
    FdRef,
    FoundType,
    Pointer,
    Record,
    Result,
    Value,
)
from lskel.runtime.syscall import errno_name

# Fields whose numbers have names.
_ENUMS: dict[str, type[IntEnum]] = {
    "map_type": MapType,
    "prog_type": ProgType,
    "expected_attach_type": AttachType,
    "attach_type": AttachType,
}
_SHORT = 16


def lines(record: Record, order: ByteOrder, *, verbose: bool = False) -> Iterator[str]:
    """A call: its name, what it was given and what came of it; `verbose` adds bytes and code.

    Fields that are 0 or empty are left out.
    """
    fields = ", ".join(
        f"{name}={value_text(name, value)}" for name, value in record.attr.items() if is_set(value)
    )
    note = " (injected)" if record.injected else ""
    yield f"{record.n:4} {record.name}({fields}) = {result_text(record.result, record.ret)}{note}"
    if verbose:
        for name, value in record.attr.items():
            for detail in _details(value, order):
                yield f"       {name}: {detail}"


def to_json(record: Record) -> dict[str, Any]:
    """{"n", "cmd", "attr", "ret"}; bytes are hexadecimal, fds come with what they stand for."""
    return {
        "n": record.n,
        "cmd": record.name,
        "attr": {name: _json(value) for name, value in record.attr.items() if is_set(value)},
        "ret": record.ret,
    }


def is_set(value: Value) -> bool:
    """Whether a field is worth showing: neither 0 nor empty."""
    return not (isinstance(value, int | str | bytes) and not value)


def value_text(name: str, value: Value) -> str:
    """What a field of an attr holds, in a few words."""
    if isinstance(value, int) and name in _ENUMS:
        return enum_name(_ENUMS[name], value).upper()
    return _TEXTS[type(value)](value) if type(value) in _TEXTS else str(value)


def _fd_text(ref: FdRef) -> str:
    return f"{ref.fd}<{ref}>" if ref.kind else str(ref)


def _bytes_text(data: bytes) -> str:
    return data.hex() if len(data) <= _SHORT else f"[{len(data)} bytes]"


def _array_text(array: FdArray) -> str:
    inner = ", ".join(f"[{index}]={_one(fd)}" for index, fd in array.used)
    return f"{{{inner}}}"


def _one(value: Value) -> str:
    return _fd_text(value) if isinstance(value, FdRef) else str(value)


_TEXTS: dict[type, Callable[[Any], str]] = {
    FdRef: _fd_text,
    bytes: _bytes_text,
    str: lambda text: f'"{text}"',
    Code: lambda code: f"[{len(code)} insns]",
    FdArray: _array_text,
    Pointer: lambda pointer: f"<{pointer}>",
}


def result_text(result: Result, ret: int) -> str:
    """What came of a call: an fd with what it stands for, a type, a number, an errno."""
    if isinstance(result, FdRef):
        return _fd_text(result)
    if isinstance(result, FoundType):
        module = f" in {_one(result.btf)}" if result.btf else ""
        return f"type {result.type_id}{module}"
    return f"-1 {errno_name(-result)}" if result < 0 else str(result)


def _details(value: Value, order: ByteOrder) -> Iterator[str]:
    if isinstance(value, Code):
        for line in disassemble(value.raw or value.insns, order):
            yield str(line)
    elif isinstance(value, bytes) and len(value) > _SHORT:
        for start in range(0, len(value), 32):
            yield f"{start:6x}: {value[start : start + 32].hex(' ')}"


def _json(value: Value) -> Any:
    if isinstance(value, FdRef):
        return {"fd": value.fd, "kind": value.kind, "name": value.name}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Code):
        return {"insns": len(value), "bytes": (value.raw or value.insns).hex()}
    if isinstance(value, FdArray):
        return {str(index): _json(fd) for index, fd in value.used}
    if isinstance(value, Pointer):
        return str(value)
    return int(value) if isinstance(value, int) else value
