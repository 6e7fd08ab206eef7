"""A loader's description: its trace and the regions of its blob, to and from JSON.

Bytes in the blob are described by offset and size. Descriptions are untrusted input, and checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from reprlib import Repr
from typing import Any

from lskel import budget
from lskel.bpf.digest import DIGEST_SIZE
from lskel.bpf.insn import OP_CALL, find
from lskel.bpf.kconfig import KconfigType, KconfigVar
from lskel.bpf.struct_ops import Member, StructOps
from lskel.btf.btf import Btf
from lskel.btf.edit import BtfAddition
from lskel.btf.ext import Records
from lskel.btf.kinds import Kind
from lskel.btf.types import TypeId
from lskel.errors import BadBundle, at
from lskel.load_phase.events import buffers, types_of
from lskel.loader.blob import MAX_SIZE, Region, RegionKind
from lskel.loader.model import Form, Loader
from lskel.trace import (
    Arena,
    AttachBtfId,
    AttachFd,
    BtfFind,
    BtfLoad,
    Close,
    EventType,
    ExternReloc,
    Guard,
    Input,
    InputKind,
    KconfigResult,
    KsymFind,
    LinkCreate,
    LinkResult,
    MapCreate,
    MapFreeze,
    MapResult,
    MapUpdate,
    MemberIndex,
    Op,
    ProgLoad,
    ProgramResult,
    RawTracepointOpen,
    Ref,
    StructOpsResult,
    Subject,
    Trace,
    TypeMismatch,
    TypeSize,
    inputs_of,
    references,
)

_OPS: dict[str, type[Op]] = {
    cls.__name__: cls
    for cls in (
        *(BtfLoad, MapCreate, MapUpdate, MapFreeze, BtfFind, KsymFind, ProgLoad),
        *(RawTracepointOpen, LinkCreate, Close),
    )
}
_INPUTS: dict[str, type[InputKind]] = {
    cls.__name__: cls for cls in (TypeSize, MemberIndex, TypeMismatch, AttachFd, AttachBtfId)
}
# Bits of numbers. A plain int is a count or index in a trace or blob: at most 32 bits.
_BITS = {"int": 32, "U32": 32, "U64": 64}
_ENUMS: dict[str, type[Enum]] = {"KconfigType": KconfigType, "Subject": Subject}
# Records with named fields, read according to their `__annotations__`.
_RECORDS: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        Arena,
        EventType,
        ExternReloc,
        Guard,
        KconfigResult,
        KconfigVar,
        LinkResult,
        MapResult,
        Member,
        ProgramResult,
        StructOps,
        StructOpsResult,
    )
}
# Left out if empty, as bundles of before had no such fields.
_OPTIONAL = {"exclusive": b""}
# Not stored, but derived from the code (`_with_calls`).
_IN_CODE = {"is_call": False}
_SHORT = Repr()
_SHORT.maxother = _SHORT.maxstring = 60
_LIST, _LIST_END, _OR_NONE = "tuple[", ", ...]", " | None"


def brief(value: object) -> str:
    """A value for an error message, shortened."""
    return _SHORT.repr(value)


def describe(loader: Loader) -> dict[str, Any]:
    """The description, in JSON types."""
    trace = loader.trace
    encode = _Encoder(loader).encode
    return {
        "form": loader.form.value,
        "name": trace.name,
        "byte_order": trace.order,
        "status": loader.status,
        "btf": loader.btf.hex(),
        "func_info": loader.func_info.hex(),
        "context_size": loader.context_size,
        "maps": encode(trace.maps),
        "programs": encode(trace.programs),
        "ops": [{"op": type(op).__name__, **encode(op)} for op in trace.ops],
        "guards": [[number, encode(guard)] for number, guard in trace.guards.items()],
        "inputs": [{"input": type(i).__name__, **encode(i)} for i in trace.inputs],
        "kconfig": encode(trace.kconfig),
        "struct_ops": encode(trace.struct_ops),
        "arenas": encode(trace.arenas),
        "links": encode(trace.links),
        **({"events": encode(trace.events), "types": _added_types(trace)} if trace.events else {}),
        "regions": [[r.offset, r.size, r.kind.value, r.op, r.field] for r in loader.regions],
    }


def _btf(trace: Trace) -> Btf | None:
    return None if trace.btf is None else Btf(trace.btf)


def _added_types(trace: Trace) -> list[str]:
    """What `types` has after the object's BTF."""
    if not trace.types:
        return ["", ""]
    return [part.hex() for part in BtfAddition.between(_btf(trace), Btf(trace.types))]


class _Encoder:
    def __init__(self, loader: Loader) -> None:
        self.blob = loader.blob
        self.places = {
            loader.blob[region.offset : region.offset + region.size]: region.offset
            for region in loader.regions
            if region.kind is RegionKind.DATA
        }

    def encode(self, value: Any) -> Any:
        """Numbers and strings unchanged, references and places as small objects."""
        if isinstance(value, Ref):
            return {"ref": value.op}
        if isinstance(value, Input):
            return {"input": value.number}
        if isinstance(value, bytes):
            return self.data(value)
        if isinstance(value, Records):
            return {"record_size": value.size, **self.data(value.data)}
        if isinstance(value, Kind):
            return value.name
        if isinstance(value, Enum) and not isinstance(value, int):
            return value.value
        if hasattr(value, "_fields"):
            names = (name for name in value._fields if name not in _IN_CODE)
            return {name: self.encode(getattr(value, name)) for name in names}
        if isinstance(value, tuple):
            return [self.encode(item) for item in value]
        if is_dataclass(value):
            given = {item.name: getattr(value, item.name) for item in fields(value)}
            return {
                name: self.encode(field)
                for name, field in given.items()
                if name not in _OPTIONAL or field != _OPTIONAL[name]
            }
        return int(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def data(self, value: bytes) -> dict[str, Any]:
        offset = self.places.get(value) if value else 0
        if offset is None:
            # With unusual regions, none may have the data; it is in the blob nevertheless.
            offset = self.places[value] = self.blob.find(value)
        return {"blob": [offset, len(value)]} if offset >= 0 else {"hex": value.hex()}


def restore(description: dict[str, Any], blob: bytes, insns: bytes) -> Loader:
    """The loader of a description.

    BadBundle, KeyError, TypeError, ValueError, IndexError or AttributeError if it is invalid.
    """
    read = _Decoder(blob)
    ops = tuple(read.op(item, number) for number, item in enumerate(description["ops"]))
    order = description["byte_order"]
    if order not in ("little", "big"):
        raise BadBundle(f"byte order {brief(order)} is unknown")

    def part(name: str, wanted: str) -> Any:
        with at(name):
            return read.decode(description[name], wanted)

    trace = Trace(
        name=part("name", "str"),
        order=order,
        ops=ops,
        maps=part("maps", "tuple[MapResult, ...]"),
        programs=part("programs", "tuple[ProgramResult, ...]"),
        guards={
            read.decode(number, "int"): read.decode(guard, "Guard")
            for number, guard in description["guards"]
        },
        inputs=tuple(
            read.record(item, _INPUTS[item.pop("input")]) for item in description["inputs"]
        ),
        kconfig=part("kconfig", "KconfigResult | None"),
        struct_ops=part("struct_ops", "tuple[StructOpsResult, ...]"),
        arenas=part("arenas", "tuple[Arena, ...]"),
        links=part("links", "tuple[LinkResult, ...]"),
    )
    if "events" in description:
        types = BtfAddition(*map(bytes.fromhex, description["types"]))
        trace = replace(
            trace,
            events=part("events", "tuple[EventType, ...]"),
            types=types.to(_btf(trace), order) if any(types) else b"",
        )
    _check_trace(trace)
    if trace.events:
        _check_events(trace)
    status = part("status", "int")
    if len(insns) % 8 or not insns or status > len(blob) - 4:
        raise BadBundle("instructions or blob do not match the description")
    return Loader(
        form=Form(description["form"]),
        trace=trace,
        insns=insns,
        blob=blob,
        regions=tuple(
            read.region(item, number, len(ops))
            for number, item in enumerate(description["regions"])
        ),
        status=status,
        btf=bytes.fromhex(description["btf"]),
        func_info=bytes.fromhex(description["func_info"]),
    )


class _Decoder:
    """Decodes values by the annotations of their fields."""

    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        self.referenced = budget.Allowance(budget.REFERENCED, "bytes of references")
        self.regions = budget.Allowance(budget.REFERENCED, "bytes of regions")
        self.readers: dict[str, Callable[[Any], Any]] = {
            "str": _text,
            "bool": _flag,
            "Kind": lambda value: Kind[value],
            "Ref": lambda value: Ref(self.decode(value["ref"], "int")),
            "Input": lambda value: Input(self.decode(value["input"], "int")),
            "bytes": self.data,
            "Records": self.records,
        }

    def decode(self, value: Any, wanted: str) -> Any:
        """A value of the type in annotation `wanted`."""
        if wanted.endswith(_OR_NONE):
            return None if value is None else self.decode(value, wanted.removesuffix(_OR_NONE))
        if " | " in wanted:
            return self.decode(value, _alternative(value, wanted))
        if wanted in _BITS:
            return _number(value, 1 << _BITS[wanted])
        if wanted in _ENUMS:
            return _ENUMS[wanted](value)
        if wanted.startswith(_LIST):
            inner = wanted.removeprefix(_LIST).removesuffix(_LIST_END)
            return tuple(self.decode(item, inner) for item in value)
        if wanted in _RECORDS:
            return self.record(value, _RECORDS[wanted])
        return self.readers[wanted](value)

    def record(self, item: dict[str, Any], cls: type[Any]) -> Any:
        """A record, by the annotations of its fields."""
        values: dict[str, Any] = {}
        annotations: dict[str, Any] = cls.__annotations__
        for name, annotation in annotations.items():
            if name in _IN_CODE:
                values[name] = _IN_CODE[name]
                continue
            if name in _OPTIONAL and name not in item:
                values[name] = _OPTIONAL[name]
                continue
            # A NamedTuple wraps its annotations.
            wanted: str = getattr(annotation, "__forward_arg__", annotation)
            try:
                values[name] = self.decode(item[name], wanted)
            except BadBundle as error:
                raise BadBundle(f"{cls.__name__}: {name}: {error}") from error
        return cls(**values)

    def op(self, item: dict[str, Any], number: int) -> Op:
        """An operation; `item` names its class."""
        name = item["op"]
        if name not in _OPS:
            raise BadBundle(f"operation {number}: {brief(name)} is unknown")
        try:
            op: Op = self.record(item, _OPS[name])
        except BadBundle as error:
            raise BadBundle(f"operation {number}: {error}") from error
        return _with_calls(op) if isinstance(op, ProgLoad) and op.externs else op

    def place(self, offset: Any, size: Any) -> slice:
        """A range of the blob."""
        start = self.decode(offset, "int")
        end = start + self.decode(size, "int")
        if end > len(self.blob):
            raise BadBundle(f"{start}+{size} is outside the blob of {len(self.blob)} bytes")
        return slice(start, end)

    def data(self, value: Any) -> bytes:
        """Bytes, in the blob or in hexadecimal."""
        if "hex" in value:
            return bytes.fromhex(value["hex"])
        place = self.place(*value["blob"])
        self.referenced.spend(place.stop - place.start)
        return self.blob[place]

    def records(self, value: Any) -> Records:
        """A table of BTF.ext."""
        data, size = self.data(value), self.decode(value["record_size"], "int")
        if size < 4 or len(data) % size:
            raise BadBundle(f"records of {size} bytes in {len(data)}")
        return Records(size, data)

    def region(self, item: list[Any], number: int, ops: int) -> Region:
        """A region of the blob; operation -1 is none."""
        with at(f"region {number}"):
            offset, size, kind, op, field = item
            self.place(offset, size)
            self.regions.spend(size)
            if op != -1:
                _number(op, ops)
            return Region(offset, size, RegionKind(kind), op, self.decode(field, "str"))


def _with_calls(op: ProgLoad) -> ProgLoad:
    """The operation, with its externs marked as calls or loads."""
    calls = frozenset(find(op.insns, OP_CALL))
    externs = (extern._replace(is_call=extern.insn in calls) for extern in op.externs)
    return replace(op, externs=tuple(externs))


def _alternative(value: Any, wanted: str) -> str:
    """Which of two types a value has: a reference or an input, else the other one."""
    plain, marked = sorted(wanted.split(" | "), key=lambda name: name in ("Ref", "Input"))
    is_marked = isinstance(value, dict) and marked.lower() in value
    return marked if is_marked else plain


def _number(value: Any, end: int) -> int:
    """A number from 0 to `end` (exclusive)."""
    if type(value) is not int or not 0 <= value < end:
        raise BadBundle(f"{brief(value)} is not a number below {end}")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise BadBundle(f"{brief(value)} is not true or false")
    return value


def _text(value: Any) -> str:
    """Printable text."""
    if type(value) is not str or not (value.isprintable() or not value):
        raise BadBundle(f"{brief(value)} is not printable text")
    budget.check(len(value), budget.TEXT, "characters in one text")
    return value


def _check_trace(trace: Trace) -> None:
    """Check that all references are valid."""
    values = budget.Allowance(budget.REFERENCED, "bytes of values for maps")
    for number, op in enumerate(trace.ops):
        for name, takes, ref in references(op):
            if not 0 <= ref.op < number:
                raise BadBundle(f"operation {number} refers to operation {ref.op}")
            if not isinstance(trace.ops[ref.op], takes.of):
                kind = type(trace.ops[ref.op]).__name__
                raise BadBundle(f"operation {number}: {name} refers to a {kind}")
        if isinstance(op, MapUpdate):
            is_written = number not in trace.unwritten
            if not _fits(op) or (is_written and op.size > MAX_SIZE):
                raise BadBundle(f"operation {number}: its value does not fit into {op.size} bytes")
            values.spend(op.size if is_written else 0)
            if op.initial and isinstance(op.value, Ref):
                raise BadBundle(f"operation {number}: the value of global data is not bytes")
            if op.initial and op.size != _op(trace, op.map.op, MapCreate).value_size:
                raise BadBundle(f"operation {number}: the value is not as long as its map's")
        if isinstance(op, MapCreate) and len(op.exclusive) not in (0, DIGEST_SIZE):
            raise BadBundle(f"operation {number}: a digest of {len(op.exclusive)} bytes")
        if isinstance(op, ProgLoad):
            _check_externs(trace, number, op)
        if any(given.number >= len(trace.inputs) for given in inputs_of(op)):
            raise BadBundle(f"operation {number} uses an unknown input")
    for slot, made in enumerate(trace.maps):
        create = _op(trace, made.op, MapCreate)
        if create.slot != slot:
            raise BadBundle(f"operation {made.op} does not create map {slot}")
    for slot, program in enumerate(trace.programs):
        if program.op is not None and _op(trace, program.op, ProgLoad).slot != slot:
            raise BadBundle(f"operation {program.op} does not load program {slot}")
    for link in trace.links:
        _op(trace, link.op, RawTracepointOpen, LinkCreate)
    _check_all_named(trace)
    _check_code(trace)
    counts = {Subject.MAP: len(trace.maps), Subject.PROGRAM: len(trace.programs)}
    slots = [
        (Subject.PROGRAM, i.slot) for i in trace.inputs if isinstance(i, AttachFd | AttachBtfId)
    ]
    slots += [(guard.subject, guard.slot) for guard in trace.guards.values()]
    slots += [(Subject.MAP, item.slot) for item in trace.struct_ops]
    slots += [(Subject.MAP, item.slot) for item in trace.arenas]
    slots += [(Subject.PROGRAM, link.slot) for link in trace.links]
    if trace.kconfig is not None:
        slots.append((Subject.MAP, trace.kconfig.slot))
        budget.check(trace.kconfig.size, MAX_SIZE, "bytes of kconfig values")
        if trace.kconfig.size != trace.map_create(trace.kconfig.slot).value_size:
            raise BadBundle("the kconfig values are not as long as their map's")
        if any(v.offset + v.size > trace.kconfig.size for v in trace.kconfig.vars):
            raise BadBundle("a kconfig value is outside its map")
    for subject, slot in slots:
        if slot >= counts[subject]:
            raise BadBundle(f"no {subject.value} {slot}")


def _check_events(trace: Trace) -> None:
    with at("types"):
        types = types_of(trace)
    known = buffers(trace).values()
    for event in trace.events:
        if event.slot not in known or types is None:
            raise BadBundle(f"map {event.slot} has no events, or they have no types")
        with at(f"events of map {event.slot}"):
            types.size_of(TypeId(event.type))


def _check_code(trace: Trace) -> None:
    for number, op in enumerate(trace.ops):
        for slot in trace.maps_in_code(op) if isinstance(op, ProgLoad) else ():
            if not 0 <= slot < len(trace.maps):
                raise BadBundle(f"operation {number}: its code refers to map {slot}")


def _check_all_named(trace: Trace) -> None:
    """Check that every object that stays open is a result, so that nothing is hidden."""
    results = {made.op for made in trace.maps} | {link.op for link in trace.links}
    results |= {program.op for program in trace.programs if program.op is not None}
    for number, op in enumerate(trace.ops):
        stays = isinstance(op, ProgLoad | RawTracepointOpen | LinkCreate) or (
            isinstance(op, MapCreate) and op.slot is not None
        )
        if stays and number not in results:
            raise BadBundle(f"operation {number} creates an object that is not a result")


def _op(trace: Trace, number: int, *kinds: type) -> Any:
    if number >= len(trace.ops) or not isinstance(trace.ops[number], kinds):
        raise BadBundle(f"operation {number} is not a {kinds[0].__name__}")
    return trace.ops[number]


def _fits(op: MapUpdate) -> bool:
    size = len(op.value) if isinstance(op.value, bytes) else 0
    return size <= op.size


def _check_externs(trace: Trace, number: int, op: ProgLoad) -> None:
    for extern in op.externs:
        if (extern.insn + 1) * 8 > len(op.insns):
            raise BadBundle(f"operation {number}: no instruction {extern.insn}")
        if extern.is_call:
            _op(trace, extern.find.op, BtfFind)
