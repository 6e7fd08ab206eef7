"""What loaded programs do in a machine, as jobs."""

from __future__ import annotations

import subprocess

import lskel
from lskel.replay import kernel
from lskel.replay.loaded import Loaded
from lskel.runtime.maps import lookup
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


def _value(loaded: Loaded, name: str) -> str:
    made = loaded.maps[name]
    value = lookup(made.fd.fileno(), bytes(4), made.info().value_size)
    assert value is not None
    return value.hex()
