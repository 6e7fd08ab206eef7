"""What loaded programs do in a machine, as jobs."""

from __future__ import annotations

import subprocess

import lskel
from lskel.replay import kernel
from lskel.replay.loaded import Loaded
from lskel.replay.options import Options
from lskel.runtime.elements import lookup
from lskel.runtime.objects import prog_info
from tests.runtime.programs import run_program

_PACKET = bytes(64)


def run_on_packet(bundle: str, map_name: str, modules: list[str]) -> str:
    """Load a bundle, run its first program once on a packet; a map's first value, hexadecimal."""
    for module in modules:
        subprocess.run(["modprobe", module], check=True)
    with kernel.run(lskel.Loader.load(bundle)) as loaded:
        program = next(iter(loaded.programs.values()))
        run_program(program.fd, packet=_PACKET)
        return _value(loaded, map_name)


def kconfig(bundle: str, map_name: str) -> str:
    """Load a bundle; the value of its map .kconfig, hexadecimal."""
    with kernel.run(lskel.Loader.load(bundle)) as loaded:
        return _value(loaded, map_name)


def targets(replaced: str, tracing: str) -> dict[str, int]:
    """Load a program, then others that attach to it and to the kernel; BTF ids they attach to."""
    with kernel.run(lskel.Loader.load(replaced)) as target:
        number = target.programs["whole"].info().id
        options = Options(
            targets={
                "replacing": f"id:{number}",
                "entered": f"id:{number}:part",
                "kernel_function": "bpf_fentry_test1",
            }
        )
        with kernel.run(lskel.Loader.load(tracing), options) as loaded:
            return {
                name: prog_info(program.fd.fileno()).attach_btf_id
                for name, program in loaded.programs.items()
            }


def _value(loaded: Loaded, name: str) -> str:
    made = loaded.maps[name]
    value = lookup(made.fd.fileno(), bytes(4), made.info().value_size)
    assert value is not None
    return value.hex()
