"""The same bpf(2) calls in the simulated kernel and in the running one, to compare what they say.

A script is a function that gets a `World`, makes calls, and gives back what they answered. Calls
answer with 0 or an fd, or with minus an errno.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import pytest

from lskel.bpf.attr import encode
from lskel.bpf.enums import Cmd, MapType, ProgType
from lskel.bpf.layouts import BTF_LOAD, MAP_CREATE, MAP_ELEM, PROG_LOAD, Layout
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.syscall.attrs import SIZE
from lskel.runtime.cpus import possible_cpus
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import BpfError, address_of, bpf, errno_name
from tests.runtime.programs import LICENSE, returns

# A bytearray is memory that the kernel may write to.
Field = int | bytes | bytearray

# The simulated kernel answers as this release does; older ones differ in places.
_RELEASE = (6, 18)


def u32(number: int) -> bytes:
    return number.to_bytes(4, sys.byteorder)


class World(Protocol):
    """One kernel and one process in it."""

    def call(self, cmd: int, attr: bytearray) -> int:
        """bpf(2)."""

    def point(self, content: bytes | bytearray) -> int:
        """The address of a buffer, of which a bytearray may be written."""


def issue(world: World, cmd: int, layout: Layout, /, **fields: Field) -> int:
    """A call; bytes for an 8-byte field are what it points to."""
    return world.call(cmd, make_attr(world, layout, fields))


def make_attr(world: World, layout: Layout, fields: Mapping[str, Field]) -> bytearray:
    """An attr of full size."""
    encoded: dict[str, int | bytes] = {}
    for name, value in fields.items():
        if isinstance(value, int):
            encoded[name] = value
        else:
            encoded[name] = world.point(value) if layout[name][1] == 8 else bytes(value)
    return encode(layout, SIZE, sys.byteorder, **encoded)


class Simulated:
    """The simulated kernel."""

    def __init__(self, kernel: SimulatedKernel | None = None) -> None:
        self.kernel = kernel or SimulatedKernel(sys.byteorder, cpus=len(possible_cpus()))

    def call(self, cmd: int, attr: bytearray) -> int:
        return self.kernel.bpf(cmd, self.point(attr), len(attr))

    def point(self, content: bytes | bytearray) -> int:
        writable = isinstance(content, bytearray)
        data = content if isinstance(content, bytearray) else bytearray(content)
        return self.kernel.map_user("buffer", data, writable=writable).base if data else 0


class Real:
    """The running kernel. Fds that it makes are closed with it."""

    def __init__(self) -> None:
        self._fds: list[Fd] = []
        self._kept: list[bytes | bytearray] = []

    def call(self, cmd: int, attr: bytearray) -> int:
        try:
            result = bpf(cmd, attr)
        except BpfError as error:
            return -error.errno
        if result:
            self._fds.append(Fd(result))
        return result

    def point(self, content: bytes | bytearray) -> int:
        self._kept.append(content)
        return address_of(content)

    def close(self) -> None:
        for fd in self._fds:
            fd.close()


def agree(script: Callable[[World], Any], since: tuple[int, int] = _RELEASE) -> None:
    """Both kernels answer alike: errnos are equal, fds count as success.

    `since` is the release that has what the script needs, where that is newer.
    """
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    if release < max(_RELEASE, since):
        pytest.skip(f"this is Linux {platform.release()}, older than what is simulated")
    real = Real()
    try:
        theirs = script(real)
    finally:
        real.close()
    ours = script(Simulated())
    differences = [
        f"{name}: {our} here, {their} in the kernel"
        for (name, our), (_, their) in zip(_named(ours), _named(theirs), strict=True)
        if our != their
    ]
    if differences:
        pytest.fail("\n".join(differences), pytrace=False)


def _named(answers: Any) -> list[tuple[str, str]]:
    if isinstance(answers, dict):
        return [(name, _shown(answer)) for name, answer in answers.items()]
    if isinstance(answers, list):
        return [(str(index), _shown(answer)) for index, answer in enumerate(answers)]
    return [("answer", _shown(answers))]


def _shown(answer: Any) -> str:
    if isinstance(answer, int):
        return "ok" if answer >= 0 else errno_name(-answer)
    return answer.hex() if isinstance(answer, bytes) else str(answer)


# -- the calls ------------------------------------------------------------------------------------


def create(world: World, map_type: int = MapType.HASH, /, **fields: Field) -> int:
    """A map of one u32 key and one 8-byte value, unless `fields` say otherwise."""
    sizes: dict[str, Field] = {"key_size": 4, "value_size": 8, "max_entries": 2}
    return issue(world, Cmd.MAP_CREATE, MAP_CREATE, map_type=map_type, **(sizes | fields))


def update(world: World, fd: int, key: bytes, value: bytes, flags: int = 0) -> int:
    return issue(world, Cmd.MAP_UPDATE_ELEM, MAP_ELEM, map_fd=fd, key=key, value=value, flags=flags)


def lookup(world: World, fd: int, key: bytes, size: int = 4096, flags: int = 0) -> int | bytes:
    """The value, padded to `size`, or minus an errno."""
    value = bytearray(size)
    answer = issue(
        world, Cmd.MAP_LOOKUP_ELEM, MAP_ELEM, map_fd=fd, key=key, value=value, flags=flags
    )
    return answer if answer < 0 else bytes(value)


def delete(world: World, fd: int, key: bytes) -> int:
    return issue(world, Cmd.MAP_DELETE_ELEM, MAP_ELEM, map_fd=fd, key=key)


def next_key(world: World, fd: int, key: bytes | None, size: int = 4) -> int | bytes:
    """The key after `key`, or minus an errno."""
    found = bytearray(size)
    answer = issue(world, Cmd.MAP_GET_NEXT_KEY, MAP_ELEM, map_fd=fd, key=key or 0, next_key=found)
    return answer if answer < 0 else bytes(found)


def freeze(world: World, fd: int) -> int:
    return issue(world, Cmd.MAP_FREEZE, MAP_ELEM, map_fd=fd)


def load_btf(world: World, raw: bytes, **fields: Field) -> int:
    return issue(world, Cmd.BTF_LOAD, BTF_LOAD, **{"btf": raw, "btf_size": len(raw), **fields})


def load_prog(world: World, code: bytes = returns(0), /, **fields: Field) -> int:
    """A socket filter, unless `fields` say otherwise."""
    usual: dict[str, Field] = {
        "prog_type": ProgType.SOCKET_FILTER,
        "insns": code,
        "insn_cnt": len(code) // 8,
        "license": LICENSE,
    }
    return issue(world, Cmd.PROG_LOAD, PROG_LOAD, **(usual | fields))
