"""Load options, and applying them to a collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lskel.btf.assign import assign
from lskel.btf.btf import Btf
from lskel.btf.types import VOID, Datasec, TypeId
from lskel.catalog.map_types import ARENA_SECTION
from lskel.errors import UnknownName, UsageError, WrongValue, unknown
from lskel.runtime import collection
from lskel.runtime.collection import Collection
from lskel.runtime.maps.kconfig import KconfigMap
from lskel.skeleton.dynamic import DynamicCollection, variables_of
from lskel.trace import Trace

PIN_ROOT = Path(collection.PIN_ROOT)
# Values of attributes of a map or program, by their names.
Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """Changes to a load, by the names of maps, programs and kconfig values.

    `maps` and `programs`: values of attributes, by the names of attributes; those of `inner_map` as
    another mapping. `max_entries`: sizes of maps. `initial`: whole values of global data.
    `variables`: values of global variables as text, by section and name: ``rodata.target_pid``
    (btf/assign.py).
    `autoload`: whether a program is loaded, overriding its section name. `targets`: the attach
    target of a program, overriding its section name: a kernel function, hook or tracepoint, or
    ``PROGRAM[:FUNCTION]`` for one that attaches to a BPF program, given by the path of its pin or
    its id (``id:42``). `kconfig`: kconfig values, as in a kernel's ``.config``. `pin_root`: the
    bpffs directory for maps that are pinned by name. `trust_pins`: use pins in directories that
    others can write to. `token_path`: the bpffs whose BPF token the load uses (Linux 6.9); None: as
    libbpf, that of $LIBBPF_BPF_TOKEN_PATH, or of /sys/fs/bpf in a user namespace; empty: none.
    `trust_bytes`: run a loader whose bytes do not match its trace.
    """

    maps: Mapping[str, Settings] = field(default_factory=dict)
    programs: Mapping[str, Settings] = field(default_factory=dict)
    max_entries: Mapping[str, int] = field(default_factory=dict)
    initial: Mapping[str, bytes] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    autoload: Mapping[str, bool] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    kconfig: Mapping[str, str | int] = field(default_factory=dict)
    pin_root: Path = PIN_ROOT
    trust_pins: bool = False
    token_path: str | None = None
    trust_bytes: bool = False


DEFAULTS = Options()


def apply(options: Options, bpf: DynamicCollection, trace: Trace) -> None:
    """Apply the options to a collection of this trace; errors as for its attributes."""
    bpf.pin_root = str(options.pin_root)
    bpf.trust_pins = options.trust_pins
    bpf.token_path = options.token_path
    for name, settings in options.maps.items():
        bpf.maps[name].set(settings)
    for name, settings in options.programs.items():
        bpf.progs[name].set(settings)
    for name, entries in options.max_entries.items():
        bpf.maps[name].max_entries = entries
    for name, content in options.initial.items():
        memory = bpf.maps[name].initial
        if len(content) != len(memory):
            raise WrongValue(f"map '{name}': expected {len(memory)} bytes, got {len(content)}")
        memory[:] = content
    for name, is_loaded in options.autoload.items():
        bpf.progs[name].autoload = is_loaded
    for name, target in options.targets.items():
        bpf.progs[name].target = target
    if options.kconfig:
        _kconfig(bpf).configured.update(options.kconfig)
    for name, text in options.variables.items():
        _assign(bpf, trace, name, text)


def _kconfig(bpf: Collection) -> KconfigMap[object]:  # type: ignore[type-var]
    for made in bpf.maps:
        if isinstance(made, KconfigMap):
            return made
    raise UsageError("it uses no kconfig values")


def _assign(bpf: DynamicCollection, trace: Trace, name: str, text: str) -> None:
    """Set the variable SECTION.PATH."""
    sections = variables_of(bpf)
    section, _, path = name.partition(".")
    if section not in sections:
        raise unknown("section of variables", section, sections)
    made = sections[section]
    slot = next(slot for slot, other in enumerate(bpf.maps) if other is made)
    if isinstance(made, KconfigMap):
        made.configured[path] = text
        return
    btf = None if trace.btf is None else Btf(trace.btf)
    # The kernel is not told the type of an arena's variables.
    is_arena = any(arena.slot == slot for arena in trace.arenas)
    type_id = TypeId(trace.map_create(slot).value_type)
    if btf is not None and is_arena:
        type_id = btf.find(ARENA_SECTION, Datasec) or VOID
    if btf is None or not type_id:
        raise UsageError(f"map '{made.name}' has no BTF that names its variables")
    try:
        assign(btf, type_id, made.initial, path, text)
    except UnknownName as error:
        if place := made.elsewhere(path):
            error.hint = f"it is in {place}"
        raise
