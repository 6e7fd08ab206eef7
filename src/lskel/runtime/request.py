"""What is asked of a load, by slot: sizes, values, programs, and what is there before."""

from __future__ import annotations

from lskel.bpf import context
from lskel.named import NamedTuple
from lskel.runtime.loader_fds import LoaderFd
from lskel.runtime.objects import Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

    from lskel.runtime.objects import Fd

_NUMBER_SIZE = 4
_ADDRESS_SIZE = 8


class MapRequest(NamedTuple):
    """A map: with `max_entries` entries, where that is not 0, and this value, where it is not None.

    `fd` is the map itself, where it is there before.
    """

    name: str
    type: int
    max_entries: int = 0
    initial: bytes | bytearray | None = None
    fd: Fd | None = None


class ProgramRequest(NamedTuple):
    """A program: whether it `loads`, and whether it does where nobody says so (`autoload`)."""

    name: str
    type: int
    loads: bool
    autoload: bool


class Request(NamedTuple):
    """A load. `inputs` are the numbers that only the target knows.

    `links` name the programs that the loader attaches, where they are loaded.
    """

    maps: tuple[MapRequest, ...]
    programs: tuple[ProgramRequest, ...]
    inputs: tuple[int, ...] = ()
    links: tuple[str, ...] = ()

    def only(self, program: str) -> Request:
        """The same, with all programs but one left out."""
        programs = tuple(p._replace(loads=p.loads and p.name == program) for p in self.programs)
        return self._replace(programs=programs)


class LoadedFds(NamedTuple):
    """What came of a request, by slot; None for programs and links that were not asked for.

    Maps that were there before are the caller's own.
    """

    maps: tuple[Fd, ...]
    programs: tuple[Fd | None, ...]
    links: tuple[Fd | None, ...]


def build_context(
    request: Request,
    order: Literal["little", "big"],
    address_of: Callable[[bytes | bytearray], int],
) -> bytearray:
    """The context that makes a loader do what is asked.

    `address_of` says where a value lies that the loader is to read; whoever made it keeps it there
    until the loader has run.
    """
    maps, programs, inputs = len(request.maps), len(request.programs), len(request.inputs)
    ctx = bytearray(context.size(maps, programs, inputs, len(request.links)))

    def store(offset: int, value: int, size: int = _NUMBER_SIZE) -> None:
        ctx[offset : offset + size] = value.to_bytes(size, order, signed=value < 0)

    store(0, len(ctx))
    for slot, made in enumerate(request.maps):
        store(context.max_entries(slot), made.max_entries)
        if made.initial is not None:
            store(context.initial_value(slot), address_of(made.initial), _ADDRESS_SIZE)
        if made.fd is not None:
            store(context.map_fd(slot), made.fd.fileno())
    for slot, program in enumerate(request.programs):
        if program.loads != program.autoload:
            wish = context.LOAD if program.loads else context.LEAVE_OUT
            store(context.program_fd(maps, slot), wish)
    for number, value in enumerate(request.inputs):
        store(context.input_value(maps, programs, number), value)
    return ctx


def expected_fds(request: Request) -> Iterator[LoaderFd]:
    """The fds that a loader makes: of maps that are not there, then of programs and links."""
    maps, programs, inputs = len(request.maps), len(request.programs), len(request.inputs)
    for slot, made in enumerate(request.maps):
        if made.fd is None:
            yield LoaderFd(Kind.MAP, context.map_fd(slot), made.name, made.type)
    loaded = {program.name for program in request.programs if program.loads}
    for slot, program in enumerate(request.programs):
        if program.loads:
            offset = context.program_fd(maps, slot)
            yield LoaderFd(Kind.PROG, offset, program.name, program.type)
    for number, name in enumerate(request.links):
        if name in loaded:
            yield LoaderFd(Kind.LINK, context.link_fd(maps, programs, inputs, number), name)


def by_slot(request: Request, made: tuple[Fd, ...]) -> LoadedFds:
    """The fds that were made, in the order of `expected_fds`, and those that were there."""
    fds = iter(made)
    loaded = {program.name for program in request.programs if program.loads}
    return LoadedFds(
        tuple(item.fd or next(fds) for item in request.maps),
        tuple(next(fds) if program.loads else None for program in request.programs),
        tuple(next(fds) if name in loaded else None for name in request.links),
    )
