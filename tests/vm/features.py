"""What loaded programs do in a machine, as jobs."""

from __future__ import annotations

import subprocess

import lskel
from lskel.runtime.one_element import lookup
from lskel.skeleton.dynamic import DynamicCollection
from tests.runtime.programs import run_program

_PACKET = bytes(64)


def run_on_packet(bundle: str, map_name: str, modules: list[str]) -> str:
    """Load a bundle, run its first program once on a packet; a map's first value, hexadecimal."""
    for module in modules:
        subprocess.run(["modprobe", module], check=True)
    with lskel.load(bundle) as bpf:
        run_program(next(iter(bpf.progs)), packet=_PACKET)
        return _value(bpf, map_name)


def kconfig(bundle: str, map_name: str) -> str:
    """Load a bundle; the value of its map .kconfig, hexadecimal."""
    with lskel.load(bundle) as bpf:
        return _value(bpf, map_name)


def targets(replaced: str, tracing: str) -> dict[str, int]:
    """Load a program, then others that attach to it and to the kernel; BTF ids they attach to."""
    with lskel.load(replaced) as target:
        number = target.progs.whole.info().id
        wanted = {
            "replacing": f"id:{number}",
            "entered": f"id:{number}:part",
            "kernel_function": "bpf_fentry_test1",
        }
        with lskel.load(tracing, targets=wanted) as bpf:
            return {program.name: program.info().attach_btf_id for program in bpf.progs}


def _value(bpf: DynamicCollection, name: str) -> str:
    made = bpf.maps[name]
    value = lookup(made.fileno(), bytes(4), made.info().value_size)
    assert value is not None
    return value.hex()
