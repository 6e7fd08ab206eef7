"""What whoever loads a trace may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PIN_ROOT = Path("/sys/fs/bpf")


@dataclass(frozen=True, slots=True)
class Options:
    """Changes to a load, by the names of maps, programs and configuration values.

    `max_entries`: sizes of maps. `initial`: whole values of global data. `variables`: values of
    global variables as text, by section and name: ``rodata.target_pid`` (btf/assign.py).
    `autoload`: whether a program is loaded, whatever its section's name says. `targets`: what a
    program attaches to, in place of what its section's name says: a function, hook or tracepoint of
    the kernel, or ``PROGRAM[:FUNCTION]`` for one that attaches to a BPF program, which is named by
    its pin's path or its id (``id:42``). `kconfig`: configuration values, as they stand in a
    kernel's ``.config``. `pin_root`: the directory of a bpffs that holds maps which are pinned by
    name. `trust_pins`: pins are opened and made where others can write, too.
    `trust_bytes`: a loader runs though its bytes are not what its trace generates.
    """

    max_entries: Mapping[str, int] = field(default_factory=dict)
    initial: Mapping[str, bytes] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    autoload: Mapping[str, bool] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    kconfig: Mapping[str, str] = field(default_factory=dict)
    pin_root: Path = PIN_ROOT
    trust_pins: bool = False
    trust_bytes: bool = False


DEFAULTS = Options()
