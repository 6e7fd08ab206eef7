"""The request for a load, by slot: sizes, values, programs, and reused maps."""

from __future__ import annotations

from lskel.bpf import context
from lskel.light_typing import NamedTuple
from lskel.runtime.loader_fds import LoaderFd
from lskel.runtime.objects import ObjectKind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Literal

    from lskel.runtime.attach_point import AttachPoint
    from lskel.runtime.objects import Fd

_NUMBER_SIZE = 4
_ADDRESS_SIZE = 8


_NOTHING: Mapping[str, int] = {}


class MapRequest(NamedTuple):
    """A map, with this `max_entries` if not 0, and this value if not None.

    `fd` is that of a reused map. `attr` are changed fields of MAP_CREATE, `inner` those of the
    inner map, both by the names in `bpf.settable`. Without `autocreate` it is not created.
    """

    name: str
    type: int
    max_entries: int = 0
    initial: bytes | bytearray | None = None
    fd: Fd | None = None
    attr: Mapping[str, int] = _NOTHING
    inner: Mapping[str, int] = _NOTHING
    autocreate: bool = True

    @property
    def is_new(self) -> bool:
        """Whether the loader creates it."""
        return self.autocreate and self.fd is None


class ProgramRequest(NamedTuple):
    """A program: whether it `loads`, and whether it does by default (`autoload`).

    `attr` are changed fields of PROG_LOAD, by the names in `bpf.settable`. `target` is its attach
    target (fd, BTF id) if that is neither an input nor the section's. `log` is a buffer for the
    verifier's log, of level `log_level`.
    """

    name: str
    type: int
    loads: bool
    autoload: bool
    attr: Mapping[str, int] = _NOTHING
    target: AttachPoint | None = None
    log: bytearray | None = None
    log_level: int = 0


class Request(NamedTuple):
    """A load. `inputs` are the numbers known on the target only.

    `links` are the programs that the loader attaches if they are loaded.
    """

    maps: tuple[MapRequest, ...]
    programs: tuple[ProgramRequest, ...]
    inputs: tuple[int, ...] = ()
    links: tuple[str, ...] = ()

    @property
    def uncreated(self) -> frozenset[int]:
        """The slots of maps that are not created."""
        return frozenset(slot for slot, made in enumerate(self.maps) if not made.autocreate)

    @property
    def has_settings(self) -> bool:
        """Whether it asks for something that a loader does not take from its context."""
        return any(m.attr or m.inner or not m.autocreate for m in self.maps) or any(
            p.attr or p.target is not None or p.log is not None for p in self.programs
        )

    def only(self, program: str) -> Request:
        """The same, without all other programs."""
        programs = tuple(p._replace(loads=p.loads and p.name == program) for p in self.programs)
        return self._replace(programs=programs)


class LoadedFds(NamedTuple):
    """The result of a request, by slot; None for what was not requested.

    Reused maps belong to the caller.
    """

    maps: tuple[Fd | None, ...]
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
        if not made.autocreate:
            store(context.map_fd(slot), context.LEAVE_OUT)
        elif made.fd is not None:
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
        if made.is_new:
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
        tuple(next(fds) if item.is_new else item.fd for item in request.maps),
        tuple(next(fds) if program.loads else None for program in request.programs),
        tuple(next(fds) if name in loaded else None for name in request.links),
    )
