"""What a replay leaves: maps and programs by name, each with its fd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lskel.errors import UsageError
from lskel.loader.model import Loader
from lskel.runtime.memory import MappedFd
from lskel.runtime.objects import Fd, MapInfo, ProgInfo, map_info, prog_info
from lskel.trace import Trace


@dataclass(frozen=True, slots=True)
class LoadedMap:
    """A map in the kernel; `name` is the object's, the kernel's may be cut."""

    name: str
    fd: Fd

    def info(self) -> MapInfo:
        """What the kernel says of it."""
        return map_info(self.fd.fileno())

    @property
    def memory(self) -> memoryview:
        """An arena's bytes, which its programs share; they can be used until it is closed.

        UsageError for other maps, and for an arena that was pinned and has no map_extra. Pages
        appear as they are touched; with BPF_F_SEGV_ON_FAULT only a program makes them, and
        touching others ends this process.
        """
        if not isinstance(self.fd, MappedFd):
            raise UsageError(f"map '{self.name}' is not mapped into this process")
        return self.fd.memory


@dataclass(frozen=True, slots=True)
class LoadedProgram:
    """A program in the kernel; `name` is the object's, the kernel's may be cut."""

    name: str
    fd: Fd

    def info(self) -> ProgInfo:
        """What the kernel says of it."""
        return prog_info(self.fd.fileno())


@dataclass(frozen=True, slots=True)
class Loaded:
    """The maps and the loaded programs, in the trace's order. Closing gives back all fds.

    `links` are those that the loader made, by the names of their programs. `loader` is the one that
    ran, None where none did.
    """

    trace: Trace
    maps: Mapping[str, LoadedMap]
    programs: Mapping[str, LoadedProgram]
    links: Mapping[str, Fd]
    loader: Loader | None = None

    def close(self) -> None:
        """Close all fds; what is neither pinned nor attached goes."""
        for link in self.links.values():
            link.close()
        for program in self.programs.values():
            program.fd.close()
        for made in self.maps.values():
            made.fd.close()

    def __enter__(self) -> Loaded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def loaded(
    trace: Trace, map_fds: list[Fd], program_fds: list[Fd | None], link_fds: list[Fd | None]
) -> Loaded:
    """Name the fds, which come in the order of the trace's maps, programs and links."""
    return Loaded(
        trace,
        {m.name: LoadedMap(m.name, fd) for m, fd in zip(trace.maps, map_fds, strict=True)},
        {
            p.name: LoadedProgram(p.name, fd)
            for p, fd in zip(trace.programs, program_fds, strict=True)
            if fd is not None
        },
        {
            trace.programs[link.slot].name: fd
            for link, fd in zip(trace.links, link_fds, strict=True)
            if fd is not None
        },
    )
