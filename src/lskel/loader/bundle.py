"""The bundle: a loader in one file, a ZIP archive.

ZIP because every system has tools that list and unpack it, Python's standard library reads it, it
checks its contents (CRC-32) and compresses. docs/bundle.md describes the members:

    lskel.json   the description: format, version, form, trace, what lies where in the blob
    blob.bin     the value of the loader's map
    insns.bin    the loader's instructions

The same loader gives the same bytes: members have a fixed order and date.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from dataclasses import fields
from pathlib import Path
from typing import Any

from lskel._version import __version__
from lskel.btf.ext import Records
from lskel.btf.types import Kind
from lskel.errors import BadBundle, LskelError, UsageError, at
from lskel.loader.blob import MAX_SIZE, Region, RegionKind
from lskel.loader.model import Form, Loader
from lskel.trace import (
    BtfFind,
    BtfLoad,
    Close,
    MapCreate,
    MapFreeze,
    MapResult,
    MapUpdate,
    Op,
    ProgLoad,
    ProgramResult,
    Ref,
    Trace,
)

FORMAT = "lskel"
VERSION = 1
MAGIC = b"PK\x03\x04"
DESCRIPTION, BLOB, INSNS = "lskel.json", "blob.bin", "insns.bin"
# ZIP's first date; a file's contents should not depend on when it was written.
_DATE = (1980, 1, 1, 0, 0, 0)
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)

_OPS: dict[str, type[Op]] = {
    cls.__name__: cls
    for cls in (BtfLoad, MapCreate, MapUpdate, MapFreeze, BtfFind, ProgLoad, Close)
}
_CHECKS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "bytes": (bytes,),
    "int | None": (int, type(None)),
    "Ref": (Ref,),
    "Ref | None": (Ref, type(None)),
    "bytes | Ref": (bytes, Ref),
    "Records": (Records,),
    "Kind": (Kind,),
}
# What an operation's reference must be to.
_WANTED: dict[tuple[type, str], tuple[type, ...]] = {
    (MapCreate, "btf"): (BtfLoad,),
    (MapCreate, "inner"): (MapCreate,),
    (MapUpdate, "map"): (MapCreate,),
    (MapUpdate, "value"): (MapCreate,),
    (MapFreeze, "map"): (MapCreate,),
    (ProgLoad, "btf"): (BtfLoad,),
    (ProgLoad, "attach_btf"): (BtfFind,),
    (Close, "ref"): (BtfLoad, MapCreate, BtfFind, ProgLoad),
}


def dump(loader: Loader) -> bytes:
    """The bundle's bytes."""
    out = io.BytesIO()
    description = json.dumps(_describe(loader), separators=(",", ":"), ensure_ascii=True)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (
            (DESCRIPTION, description.encode()),
            (BLOB, loader.blob),
            (INSNS, loader.insns),
        ):
            member = zipfile.ZipInfo(name, _DATE)
            member.external_attr = 0o644 << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def save(loader: Loader, path: str | os.PathLike[str]) -> None:
    """Write the bundle; the file appears whole or not at all. UsageError where it cannot be."""
    target = Path(path)
    content = dump(loader)
    with at(os.fspath(path)):
        try:
            if target.exists() and not target.is_file():
                target.write_bytes(content)  # a pipe or a device is written to, not replaced
                return
            temporary = target.with_name(f".{target.name}.{os.getpid()}")
            try:
                temporary.write_bytes(content)
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise UsageError(f"cannot be written: {error.strerror}") from error


def load(source: str | os.PathLike[str] | bytes) -> Loader:
    """Read a bundle; BadBundle where it is none, is damaged, or is of a later version."""
    if isinstance(source, bytes):
        return _load(source)
    with at(os.fspath(source)):
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise UsageError(error.strerror or str(error)) from error
        return _load(content)


def _load(content: bytes) -> Loader:
    if not content.startswith(MAGIC):
        raise BadBundle("not an lskel bundle", hint="make one with `lskel gen`")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: _member(archive, name) for name in (DESCRIPTION, BLOB, INSNS)}
    except _DAMAGE as error:
        raise BadBundle(f"damaged bundle: {error}") from error
    try:
        description = json.loads(members[DESCRIPTION])
    except ValueError as error:
        raise BadBundle(f"{DESCRIPTION}: {error}") from error
    except RecursionError as error:
        raise BadBundle(f"{DESCRIPTION}: nested too deeply") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise BadBundle(f"{DESCRIPTION} is not a description of a loader")
    if description.get("version") != VERSION:
        raise BadBundle(
            f"bundle version {description.get('version')} is unknown, this lskel reads {VERSION}",
            hint="use the lskel that wrote it, or a later one",
        )
    try:
        return _restore(description, members[BLOB], members[INSNS])
    except LskelError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise BadBundle(f"{DESCRIPTION}: {type(error).__name__}: {error}") from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise BadBundle(f"damaged bundle: there is no {name}") from None
    if info.file_size > MAX_SIZE:
        raise BadBundle(f"{name}: {info.file_size} bytes are more than {MAX_SIZE}")
    return archive.read(info)


# -- description of a loader --------------------------------------------------------------------


def _describe(loader: Loader) -> dict[str, Any]:
    trace = loader.trace
    places = {
        loader.blob[region.offset : region.offset + region.size]: region.offset
        for region in loader.regions
        if region.kind is RegionKind.DATA
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "generator": f"lskel {__version__}",
        "form": loader.form.value,
        "name": trace.name,
        "byte_order": trace.order,
        "status": loader.status,
        "context_size": loader.context_size,
        "maps": [{"name": m.name, "section": m.section, "op": m.op} for m in trace.maps],
        "programs": [{"name": p.name, "section": p.section, "op": p.op} for p in trace.programs],
        "ops": [_encode_op(op, places, loader.blob) for op in trace.ops],
        "regions": [[r.offset, r.size, r.kind.value, r.op, r.field] for r in loader.regions],
    }


def _encode_op(op: Op, places: dict[bytes, int], blob: bytes) -> dict[str, Any]:
    described: dict[str, Any] = {"op": type(op).__name__}
    for item in fields(op):
        described[item.name] = _encode(getattr(op, item.name), places, blob)
    return described


def _encode(value: Any, places: dict[bytes, int], blob: bytes) -> Any:
    """Numbers and strings as they are; references, and ranges of the blob, as small objects."""
    if isinstance(value, Ref):
        return {"ref": value.op}
    if isinstance(value, bytes):
        # Where a bundle's regions are odd, none may name the data; it is in the blob all the same.
        offset = places.get(value, blob.find(value)) if value else 0
        return {"blob": [offset, len(value)]}
    if isinstance(value, Records):
        return {"record_size": value.size, **_encode(value.data, places, blob)}
    if isinstance(value, Kind):
        return {"kind": value.name}
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


# -- and back -----------------------------------------------------------------------------------


def _restore(description: dict[str, Any], blob: bytes, insns: bytes) -> Loader:
    ops = tuple(_decode_op(item, number, blob) for number, item in enumerate(description["ops"]))
    _check_references(ops)
    order = description["byte_order"]
    if order not in ("little", "big"):
        raise BadBundle(f"byte order {order!r} is unknown")
    trace = Trace(
        name=_checked(description["name"], str, "name"),
        order=order,
        ops=ops,
        maps=tuple(
            MapResult(
                _checked(item["name"], str, "name"),
                _checked(item["section"], str, "section"),
                _result(ops, item["op"], MapCreate),
            )
            for item in description["maps"]
        ),
        programs=tuple(
            ProgramResult(
                _checked(item["name"], str, "name"),
                _checked(item["section"], str, "section"),
                None if item["op"] is None else _result(ops, item["op"], ProgLoad),
            )
            for item in description["programs"]
        ),
    )
    for slot, made in enumerate(trace.maps):
        if trace.map_create(slot).slot != slot:
            raise BadBundle(f"operation {made.op} does not make map {slot}")
    for slot, program in enumerate(trace.programs):
        load_op = trace.prog_load(slot)
        if load_op is not None and load_op.slot != slot:
            raise BadBundle(f"operation {program.op} does not load program {slot}")
    status = _checked(description["status"], int, "status")
    if len(insns) % 8 or not insns or not 0 <= status <= len(blob) - 4:
        raise BadBundle("instructions or blob do not fit the description")
    return Loader(
        form=Form(description["form"]),
        trace=trace,
        insns=insns,
        blob=blob,
        regions=tuple(_region(item, blob) for item in description["regions"]),
        status=status,
    )


def _checked(value: Any, kind: type, what: str) -> Any:
    if type(value) is not kind:
        raise BadBundle(f"{what}: {value!r} is no {kind.__name__}")
    return value


def _result(ops: tuple[Op, ...], number: Any, kind: type) -> int:
    index: int = _checked(number, int, "op")
    if not 0 <= index < len(ops) or not isinstance(ops[index], kind):
        raise BadBundle(f"operation {index} is no {kind.__name__}")
    return index


def _region(item: list[Any], blob: bytes) -> Region:
    offset, size, kind, op, field = item
    _range(blob, offset, size)
    return Region(
        offset, size, RegionKind(kind), _checked(op, int, "op"), _checked(field, str, "field")
    )


def _range(blob: bytes, offset: Any, size: Any) -> bytes:
    if not 0 <= _checked(offset, int, "offset") <= len(blob) - _checked(size, int, "size"):
        raise BadBundle(f"{offset}+{size} is outside the blob of {len(blob)} bytes")
    if size < 0:
        raise BadBundle(f"size {size} is negative")
    return blob[offset : offset + size]


def _decode_op(item: dict[str, Any], number: int, blob: bytes) -> Op:
    name = item["op"]
    if name not in _OPS:
        raise BadBundle(f"operation {number}: '{name}' is unknown")
    cls = _OPS[name]
    values: dict[str, Any] = {}
    for field in fields(cls):
        value = _decode(item[field.name], number, blob)
        if not isinstance(value, _CHECKS[str(field.type)]) or not _in_range(value):
            raise BadBundle(f"operation {number}: {field.name} {value!r} is no {field.type}")
        values[field.name] = value
    op = cls(**values)
    if isinstance(op, MapUpdate) and not _fits(op):
        raise BadBundle(f"operation {number}: its value does not fit {op.size} bytes")
    return op


def _fits(op: MapUpdate) -> bool:
    size = len(op.value) if isinstance(op.value, bytes) else 0
    return size <= op.size <= MAX_SIZE and op.key < 1 << 32


def _in_range(value: Any) -> bool:
    """Whether a number fits an attr's field, and a string can be written to a file."""
    if isinstance(value, str):
        return value.isprintable() or not value
    return not isinstance(value, int) or 0 <= value < 1 << 64


def _check_references(ops: tuple[Op, ...]) -> None:
    """Each reference is to an operation that makes what is wanted."""
    for number, op in enumerate(ops):
        for field in fields(op):
            value = getattr(op, field.name)
            wanted = _WANTED[type(op), field.name] if isinstance(value, Ref) else ()
            if isinstance(value, Ref) and not isinstance(ops[value.op], wanted):
                raise BadBundle(
                    f"operation {number}: {field.name} refers to a {type(ops[value.op]).__name__}"
                )


def _decode(value: Any, number: int, blob: bytes) -> Any:
    if not isinstance(value, dict):
        return value
    if "ref" in value:
        ref = _checked(value["ref"], int, "ref")
        if not 0 <= ref < number:
            raise BadBundle(f"operation {number} refers to operation {ref}")
        return Ref(ref)
    if "kind" in value:
        return Kind[value["kind"]]
    data = _range(blob, *value["blob"])
    if "record_size" not in value:
        return data
    size = _checked(value["record_size"], int, "record_size")
    if size < 4 or len(data) % size:
        raise BadBundle(f"operation {number}: records of {size} bytes in {len(data)}")
    return Records(size, data)
