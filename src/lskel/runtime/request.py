"""The request for a load, by slot: sizes, values, programs, and reused maps."""

from __future__ import annotations

from lskel.bpf import context
from lskel.light_typing import NamedTuple
from lskel.runtime.loader_fds import LoaderFd
from lskel.runtime.objects import ObjectKind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

    from lskel.runtime.objects import Fd

_NUMBER_SIZE = 4
_ADDRESS_SIZE = 8


class MapRequest(NamedTuple):
    """A map, with this `max_entries` if not 0, and this value if not None.

    `fd` is that of a reused map.
    """

    name: str
    type: int
    max_entries: int = 0
    initial: bytes | bytearray | None = None
    fd: Fd | None = None


class ProgramRequest(NamedTuple):
    """A program: whether it `loads`, and whether it does by default (`autoload`)."""

    name: str
    type: int
    loads: bool
    autoload: bool


class Request(NamedTuple):
    """A load. `inputs` are the numbers known on the target only.

    `links` are the programs that the loader attaches if they are loaded.
    """

    maps: tuple[MapRequest, ...]
    programs: tuple[ProgramRequest, ...]
    inputs: tuple[int, ...] = ()
    links: tuple[str, ...] = ()

    def only(self, program: str) -> Request:
        """The same, without all other programs."""
        programs = tuple(p._replace(loads=p.loads and p.name == program) for p in self.programs)
        return self._replace(programs=programs)


class LoadedFds(NamedTuple):
    """The result of a request, by slot; None for programs and links that were not requested.

    Reused maps belong to the caller.
    """

    maps: tuple[Fd, ...]
    programs: tuple[Fd | None, ...]
    links: tuple[Fd | None, ...]


def build_context(
    request: Request,
    order: Literal["little", "big"],
    address_of: Callable[[bytes | bytearray], int],
) -> bytearray:
    """The context for a loader to execute a request.

    `address_of` returns the address of a value that the loader reads; the caller keeps it valid
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
    """The fds that a loader creates: of new maps, then of programs and links."""
    maps, programs, inputs = len(request.maps), len(request.programs), len(request.inputs)
    for slot, made in enumerate(request.maps):
        if made.fd is None:
            yield LoaderFd(ObjectKind.MAP, context.map_fd(slot), made.name, made.type)
    loaded = {program.name for program in request.programs if program.loads}
    for slot, program in enumerate(request.programs):
        if program.loads:
            offset = context.program_fd(maps, slot)
            yield LoaderFd(ObjectKind.PROG, offset, program.name, program.type)
    for number, name in enumerate(request.links):
        if name in loaded:
            yield LoaderFd(ObjectKind.LINK, context.link_fd(maps, programs, inputs, number), name)


def by_slot(request: Request, made: tuple[Fd, ...]) -> LoadedFds:
    """The new fds, in the order of `expected_fds`, and those of reused maps."""
    fds = iter(made)
    loaded = {program.name for program in request.programs if program.loads}
    return LoadedFds(
        tuple(item.fd or next(fds) for item in request.maps),
        tuple(next(fds) if program.loads else None for program in request.programs),
        tuple(next(fds) if name in loaded else None for name in request.links),
    )
