"""A trace made ready for one target: what was asked for, and what only the target knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace

from lskel.btf.assign import assign
from lskel.btf.btf import Btf
from lskel.btf.types import TypeId
from lskel.errors import UsageError, at
from lskel.object.sections import parse_section
from lskel.replay.options import Options
from lskel.replay.target import Target, max_entries
from lskel.runtime.attach_point import AttachPoint
from lskel.runtime.kconfig import encode_values
from lskel.runtime.objects import Fd
from lskel.trace import (
    AttachBtfId,
    AttachFd,
    Input,
    InputKind,
    MapUpdate,
    MemberIndex,
    Subject,
    Trace,
    TypeSize,
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a replay needs besides the loader.

    `trace` has the sizes and values that the target gets. `loads` says for each program whether it
    is loaded. `inputs` are the values of `trace.inputs`. `given` are maps that exist already, by
    slot.
    """

    trace: Trace
    loads: tuple[bool, ...]
    inputs: tuple[int, ...] = ()
    given: Mapping[int, Fd] = field(default_factory=dict)

    def skips(self, number: int) -> bool:
        """Whether an operation is left out."""
        guard = self.trace.guards.get(number)
        if guard is None:
            return False
        if guard.subject is Subject.MAP:
            return guard.slot in self.given
        return not self.loads[guard.slot]


def prepare(trace: Trace, options: Options, target: Target) -> Prepared:
    """Apply the options and ask the target.

    UsageError where an option does not fit the trace. NotFound and NotSupported, before anything
    is loaded, where the target lacks what the trace needs: a configuration value, a struct, a
    member, an attach target.
    """
    with at(trace.name):
        return _prepare(trace, options, target)


def _prepare(trace: Trace, options: Options, target: Target) -> Prepared:
    _check_names(options.max_entries, trace.maps, "map")
    _check_names(options.initial, trace.maps, "map")
    _check_names(options.autoload, trace.programs, "program")
    _check_names(options.targets, trace.programs, "program")
    for slot, program in enumerate(trace.programs):
        load = trace.prog_load(slot)
        if program.name in options.targets and load is not None and load.attach_btf is not None:
            raise UsageError(
                f"program '{program.name}' attaches to what its section's name "
                f"'{program.section}' says",
                hint="only where that names no target, one can be given",
            )
    changed = _values(_sizes(trace, options, target), options, target)
    prepared = Prepared(changed, _loads(trace, options))
    needed = {
        value.number
        for number, op in enumerate(changed.ops)
        if not prepared.skips(number)
        for value in (getattr(op, item.name) for item in fields(op))
        if isinstance(value, Input)
    }
    resolve = _Inputs(trace, options, target).value
    return replace(
        prepared,
        inputs=tuple(
            resolve(kind) if number in needed else 0 for number, kind in enumerate(trace.inputs)
        ),
    )


def _check_names(names: Iterable[str], known: Iterable[object], what: str) -> None:
    there = [str(getattr(item, "name", "")) for item in known]
    for name in names:
        if name not in there:
            hint = f"there is: {', '.join(there) or 'none'}"
            raise UsageError(f"there is no {what} '{name}'", hint=hint)


def _sizes(trace: Trace, options: Options, target: Target) -> Trace:
    ops = list(trace.ops)
    for slot, made in enumerate(trace.maps):
        create = trace.map_create(slot)
        wanted = options.max_entries.get(made.name, create.max_entries)
        if made.name in options.max_entries and not 0 < wanted < 1 << 32:
            raise UsageError(f"map '{made.name}' cannot have {wanted} entries")
        sized = replace(create, max_entries=wanted)
        ops[made.op] = replace(sized, max_entries=max_entries(sized, target))
    return replace(trace, ops=tuple(ops))


def _values(trace: Trace, options: Options, target: Target) -> Trace:
    slots = {made.name: slot for slot, made in enumerate(trace.maps)}
    values = {slots[name]: value for name, value in options.initial.items()}
    kconfig = trace.kconfig
    if kconfig is None and options.kconfig:
        raise UsageError("it asks for no configuration values")
    if kconfig is not None and kconfig.slot not in values:
        values[kconfig.slot] = encode_values(
            kconfig.vars, kconfig.size, target.kconfig, trace.order, options.kconfig
        )
    for variable, text in options.variables.items():
        slot, path = _variable(trace, variable)
        values[slot] = _assigned(trace, slot, values.get(slot), path, text)
    ops = list(trace.ops)
    for slot, value in values.items():
        number, write = _initial(trace, slot)
        _check_size(trace, slot, value, write)
        ops[number] = replace(write, value=value)
    return replace(trace, ops=tuple(ops))


def _initial(trace: Trace, slot: int) -> tuple[int, MapUpdate]:
    """The operation that writes a map's initial value, with its number."""
    number = trace.initial_value(slot)
    if number is None:
        raise UsageError(
            f"map '{trace.maps[slot].name}' is not global data: it has no initial value"
        )
    write = trace.ops[number]
    assert isinstance(write, MapUpdate)
    return number, write


def _check_size(trace: Trace, slot: int, value: bytes | bytearray, write: MapUpdate) -> None:
    if len(value) != write.size:
        name = trace.maps[slot].name
        raise UsageError(f"map '{name}' has {write.size} bytes, not {len(value)}")


def _variable(trace: Trace, name: str) -> tuple[int, str]:
    """The slot of the map that SECTION.PATH is in, and the path."""
    sections = {
        made.section.removeprefix(".").replace(".", "_"): slot
        for slot, made in enumerate(trace.maps)
        if trace.initial_value(slot) is not None
    }
    section, _, path = name.partition(".")
    if section not in sections:
        raise UsageError(
            f"'{name}' is in no section of variables",
            hint=f"SECTION.VARIABLE is needed, of: {', '.join(sections) or 'none'}",
        )
    return sections[section], path


def _assigned(trace: Trace, slot: int, value: bytes | None, path: str, text: str) -> bytes:
    """The content of a section in which one variable is set."""
    _, write = _initial(trace, slot)
    assert isinstance(write.value, bytes)
    memory = bytearray(write.value.ljust(write.size, b"\0") if value is None else value)
    _check_size(trace, slot, memory, write)
    section = TypeId(trace.map_create(slot).value_type)
    if trace.btf is None or not section:
        raise UsageError(f"map '{trace.maps[slot].name}' has no BTF that names its variables")
    assign(Btf(trace.btf), section, memory, path, text)
    return bytes(memory)


def _loads(trace: Trace, options: Options) -> tuple[bool, ...]:
    loads = []
    for program in trace.programs:
        wanted = options.autoload.get(program.name, program.autoload)
        if wanted and program.op is None:
            raise UsageError(
                f"program '{program.name}' cannot be switched on: no loader was generated for it",
                hint=f"generate with --autoload {program.name} to see why",
            )
        loads.append(wanted)
    return tuple(loads)


class _Inputs:
    """Values of inputs; asks once for what a program attaches to."""

    def __init__(self, trace: Trace, options: Options, target: Target) -> None:
        self._trace = trace
        self._options = options
        self._target = target
        self._points: dict[int, AttachPoint] = {}

    def value(self, kind: InputKind) -> int:
        if isinstance(kind, TypeSize):
            return self._target.type_size(kind.type)
        if isinstance(kind, MemberIndex):
            return self._target.member_index(kind.type, kind.member)
        if isinstance(kind, AttachBtfId):
            return self._point(kind.slot).btf_id
        assert isinstance(kind, AttachFd)
        return self._point(kind.slot).fd

    def _point(self, slot: int) -> AttachPoint:
        if slot not in self._points:
            program = self._trace.programs[slot]
            with at(f"program '{program.name}'"):
                spec = parse_section(program.section)
                target = self._options.targets.get(program.name)
                if target is None:
                    lacks = "which program that is in" if spec.target else "what it attaches to"
                    raise UsageError(
                        f"section name '{program.section}' does not say {lacks}",
                        hint=f"say it: --target {program.name}=TARGET, or leave the program out: "
                        f"--no-autoload {program.name}",
                    )
                self._points[slot] = self._target.attach_point(spec, target)
        return self._points[slot]
