"""A replay as text, one call per line like strace, and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

from lskel.bpf.disasm import disassemble
from lskel.bpf.enums import AttachType, MapType, ProgType
from lskel.bpf.names import enum_name
from lskel.cursor import ByteOrder
from lskel.replay.simulator.record import (
    CallRecord,
    FdRef,
    FoundType,
    Pointer,
    RecordedCode,
    RecordedFdArray,
    Result,
    Value,
)
from lskel.runtime.syscall import errno_name

# Fields whose values have names.
_ENUMS: dict[str, type[IntEnum]] = {
    "map_type": MapType,
    "prog_type": ProgType,
    "expected_attach_type": AttachType,
    "attach_type": AttachType,
}
_SHORT = 16


def lines(record: CallRecord, order: ByteOrder, *, verbose: bool = False) -> Iterator[str]:
    """A call: its name, attr and result; `verbose` adds bytes and code.

    Fields that are 0 or empty are omitted.
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


def to_json(record: CallRecord) -> dict[str, Any]:
    """{"n", "cmd", "attr", "ret"}; bytes are hexadecimal, fds come with their objects."""
    return {
        "n": record.n,
        "cmd": record.name,
        "attr": {name: _json(value) for name, value in record.attr.items() if is_set(value)},
        "ret": record.ret,
    }


def is_set(value: Value) -> bool:
    """Whether a field is shown: neither 0 nor empty."""
    return not (isinstance(value, int | str | bytes) and not value)


def value_text(name: str, value: Value) -> str:
    """The value of an attr field as short text."""
    if isinstance(value, int) and name in _ENUMS:
        return enum_name(_ENUMS[name], value).upper()
    return _TEXTS[type(value)](value) if type(value) in _TEXTS else str(value)


def _fd_text(ref: FdRef) -> str:
    return f"{ref.fd}<{ref}>" if ref.kind else str(ref)


def _bytes_text(data: bytes) -> str:
    return data.hex() if len(data) <= _SHORT else f"[{len(data)} bytes]"


def _array_text(array: RecordedFdArray) -> str:
    inner = ", ".join(f"[{index}]={_one(fd)}" for index, fd in array.used)
    return f"{{{inner}}}"


def _one(value: Value) -> str:
    return _fd_text(value) if isinstance(value, FdRef) else str(value)


_TEXTS: dict[type, Callable[[Any], str]] = {
    FdRef: _fd_text,
    bytes: _bytes_text,
    str: lambda text: f'"{text}"',
    RecordedCode: lambda code: f"[{len(code)} insns]",
    RecordedFdArray: _array_text,
    Pointer: lambda pointer: f"<{pointer}>",
}


def result_text(result: Result, ret: int) -> str:
    """The result of a call: an fd with its object, a type, a number, an errno."""
    if isinstance(result, FdRef):
        return _fd_text(result)
    if isinstance(result, FoundType):
        module = f" in {_one(result.btf)}" if result.btf else ""
        return f"type {result.type_id}{module}"
    return f"-1 {errno_name(-result)}" if result < 0 else str(result)


def _details(value: Value, order: ByteOrder) -> Iterator[str]:
    if isinstance(value, RecordedCode):
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
    if isinstance(value, RecordedCode):
        return {"insns": len(value), "bytes": (value.raw or value.insns).hex()}
    if isinstance(value, RecordedFdArray):
        return {str(index): _json(fd) for index, fd in value.used}
    if isinstance(value, Pointer):
        return str(value)
    return int(value) if isinstance(value, int) else value
