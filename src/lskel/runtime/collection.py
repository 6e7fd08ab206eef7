"""A collection: the maps, programs, links and variables of an object, from open to close.

`lskel.load` makes one at run time; a generated module has one as a typed class.
"""

from __future__ import annotations

import os
from _thread import RLock
from contextlib import ExitStack, suppress

from lskel.bpf.enums import MapType
from lskel.errors import Closed, ReadOnly, ReplayError, UnknownName, UsageError, at, unknown
from lskel.light_typing import Generic
from lskel.runtime.kernel import RUNNING, check_running
from lskel.runtime.loader import check_byte_order, low_fds_taken
from lskel.runtime.maps.base import Map
from lskel.runtime.program import Program
from lskel.runtime.request import Request
from lskel.runtime.signals import uninterrupted
from lskel.runtime.token import using_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from lskel.runtime.attach.link import Link
    from lskel.runtime.attach_point import AttachPoint
    from lskel.runtime.image import Image
    from lskel.runtime.kernel import Kernel
    from lskel.runtime.objects import Fd
    from lskel.runtime.request import LoadedFds

    T = TypeVar("T")
else:
    T = object


# Where maps that are shared by name have their pins, unless another directory is set.
PIN_ROOT = "/sys/fs/bpf"


class Namespace(Generic[T]):
    """Items as attributes, in the object's order; by their original name with []."""

    _kind = "name"

    def __init__(self, /, **things: T) -> None:
        vars(self).update(things)

    def __iter__(self) -> Iterator[T]:
        return iter(vars(self).values())

    def __len__(self) -> int:
        return len(vars(self))

    def __getitem__(self, name: str) -> T:
        for thing in self:
            if getattr(thing, "name", "") == name:
                return thing
        raise self._unknown(name)

    def __contains__(self, name: object) -> bool:
        return any(getattr(thing, "name", "") == name for thing in self)

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            raise self._unknown(name)

        def __setattr__(self, name, value):
            if name not in vars(self):
                raise self._unknown(name)
            raise ReadOnly(
                f"{self._kind} '{name}' cannot be replaced", hint="set its content instead"
            )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(vars(self)) or 'none'}>"

    def _unknown(self, name: str) -> UnknownName:
        return unknown(self._kind, name, (getattr(thing, "name", "") for thing in self))


class Maps(Namespace[Map]):
    """The maps of a collection: attributes in the object's order; by name with []."""

    _kind = "map"


class Programs(Namespace[Program]):
    """The programs of a collection: attributes in the object's order; by name with []."""

    _kind = "program"


class Links:
    """The open links of a collection: an attribute is the latest link of that program or map.

    `owners` maps attributes to the names of programs and maps.
    """

    __slots__ = ("_links", "_owners")

    def __init__(self, /, **owners: str) -> None:
        self._owners = owners
        self._links: list[tuple[str, Link]] = []

    def __iter__(self) -> Iterator[Link]:
        return (link for _, link in self._open())

    def __len__(self) -> int:
        return len(self._open())

    def _open(self) -> list[tuple[str, Link]]:
        """Without those that were closed."""
        self._links = [(name, link) for name, link in self._links if not link.closed]
        return self._links

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            wanted = self._owners.get(name, name)
            for owner, link in reversed(self._open()):
                if owner == wanted:
                    return link
            raise UnknownName(f"'{name}' is not attached")

    def has(self, name: str) -> bool:
        """Whether a program or struct_ops map has an open link."""
        return any(owner == name for owner, _ in self._open())

    def add(self, name: str, link: Link) -> None:
        """Own a link until the collection closes."""
        self._links.append((name, link))
        for pair in [pair for pair in self._links if pair[1].closed]:
            with suppress(ValueError):  # another thread was faster
                self._links.remove(pair)

    def close(self, keep: Iterable[Link] = ()) -> None:
        """Detach in reverse order, except those of `keep`; continues after errors."""
        kept = list(keep)
        # By identity, and not by id(): auditors of what a module does see that.
        closing = [link for _, link in self._links if not any(link is one for one in kept)]
        self._links = [pair for pair in self._links if any(pair[1] is one for one in kept)]
        with ExitStack() as stack:
            for link in closing:
                stack.callback(link.close)


class Collection:
    """The maps, programs, links and global variables of an object; a context manager.

    At first it is *open*: attributes of maps and programs, and variables can be set.
    `load`, or the first use that needs the kernel (attaching, a map's elements, its fd), creates
    the maps and loads the programs; from then on the variables are those of the programs. `close`,
    or the end of a ``with`` block, detaches and closes everything; pins stay.

    `pin_root` is the bpffs directory for maps shared by name (LIBBPF_PIN_BY_NAME); with
    `trust_pins` other users may write to it. `token_path` is the bpffs whose BPF token the load
    uses (`lskel.runtime.token.open_token`; None: as libbpf). `kernel` is where it loads, by default
    the running kernel.
    """

    __slots__ = (
        *("maps", "progs", "links", "pin_root", "trust_pins", "token_path"),
        *("_image", "_kernel", "_loaded", "_closed", "_lock", "__dict__", "__weakref__"),
    )
    _SETTABLE = frozenset(("pin_root", "trust_pins", "token_path"))
    if TYPE_CHECKING:
        maps: Maps
        progs: Programs
        links: Links

    def __init__(
        self, image: Image, maps: Maps, progs: Programs, links: Links, kernel: Kernel | None = None
    ) -> None:
        put = object.__setattr__
        for name, value in (("maps", maps), ("progs", progs), ("links", links)):
            put(self, name, value)
        self.pin_root = PIN_ROOT
        self.trust_pins = False
        self.token_path: str | None = None
        self._image = image
        self._kernel = RUNNING if kernel is None else kernel
        self._loaded = False
        self._closed = False
        # Two threads may need the kernel at once, or one close what another loads.
        self._lock = RLock()
        by_name = {made.name: made for made in maps}
        for program in progs:
            program.maps = by_name
            program.needed = self._need
            program.placed(self._kernel)
        for made in maps:
            made.placed(self._kernel, maps, image)
            made.needed = self._need

    if not TYPE_CHECKING:

        def __setattr__(self, name, value):
            if name in self._SETTABLE:
                if getattr(self, "_loaded", False):
                    raise ReadOnly(f"{name} cannot change any more", hint="set it before load()")
            elif not name.startswith("_"):
                if hasattr(type(self), name):
                    raise ReadOnly(f"{name} cannot be replaced", hint="set its content instead")
                what = f"{type(self).__name__} has no attribute '{name}' to set"
                raise UnknownName(what)
            object.__setattr__(self, name, value)

        def __getattr__(self, name):
            if name in Collection.__slots__:
                raise AttributeError(name)
            sections = (a for a, m in vars(self.maps).items() if type(m).variables is not None)
            raise unknown("section of variables", name, sections)

    @property
    def loaded(self) -> bool:
        """Whether maps and programs are in the kernel."""
        return self._loaded and not self._closed

    # -- load -----------------------------------------------------------------------------------

    def load(self: S) -> S:
        """Create the maps and load the programs; returns the collection. Linux 5.14.

        All or nothing. UsageError if already loaded, or if the settings do not fit; NoPermission;
        ReplayError names the operation that the kernel refused, with the verifier log in `log`;
        BadInput if the loader returns fds of anything else than this object.
        """
        self._put_into_kernel(pins=True)
        return self

    def rehearse(self) -> None:
        """Load with the errors of `load`, then close; creates no pins."""
        self._check_open()
        with self:
            self._put_into_kernel(pins=False)

    def _check_open(self) -> None:
        hint = "open another one"
        if self._closed:
            raise Closed(f"'{self._image.name}' is closed", hint=hint)
        if self._loaded:
            raise UsageError(f"'{self._image.name}' is already loaded", hint=hint)

    def _put_into_kernel(self, *, pins: bool) -> None:
        name = self._image.name
        with self._lock:
            self._check_open()
            check_byte_order(name, self._image.order)
            with at(name), uninterrupted(), ExitStack() as undo:
                with ExitStack() as held:
                    self._use_token(held)
                    request = self.request(undo, held)
                    try:
                        made = self._kernel.load(self._image, request)
                    except ReplayError as error:
                        from lskel.runtime.advice import advise

                        created = [made.created(self._kernel) for made in self.maps]
                        advise(error, created, self._image.labels())
                        raise
                for fd in (*made.maps, *made.programs, *made.links):
                    if fd is not None:
                        undo.callback(fd.close)
                undo.callback(self.close)
                self._loaded = True
                self._take(made)
                if pins:
                    self._pin()
                undo.pop_all()

    def _use_token(self, held: ExitStack) -> None:
        """Use a BPF token until `held` ends, also for maps that this collection creates later."""
        if not self._kernel.is_running:
            if self.token_path is not None:
                check_running(self._kernel, "takes no BPF token")
            return
        held.enter_context(using_token(self.token_path))
        for made in self.maps:
            made.token_path = self.token_path

    def _need(self) -> None:
        """Load unless loaded, for an operation that needs the kernel."""
        if not self.loaded:
            with self._lock:
                if not self.loaded:
                    self.load()

    def request(
        self, undo: ExitStack, held: ExitStack, reused: Callable[[Map], Fd | None] | None = None
    ) -> Request:
        """The request for the load: the settings, and what is looked up in the kernel first.

        `undo` closes reused maps, which `reused` opens; `held` holds what only the load needs.
        UsageError, NotFound or NotSupported if a setting does not fit, or the kernel lacks
        something.
        """
        kernel, programs = self._kernel, list(self.progs)
        inputs = self._image.inputs
        points = self._attach_points(held)
        maps = []
        with low_fds_taken():
            for made in self.maps:
                fd = (reused or self._reused)(made)
                if fd is not None:  # else the loader creates it
                    undo.enter_context(fd)
                maps.append(made.request(kernel, self._image.order)._replace(fd=fd))
        return Request(
            tuple(maps),
            tuple(
                program.request()._replace(target=points.get(slot))
                for slot, program in enumerate(programs)
            ),
            ()
            if inputs is None
            else inputs.values(programs, kernel, held, trust_pins=self.trust_pins),
            self._image.links,
        )

    def _reused(self, made: Map) -> Fd | None:
        """The fd of a map that the loader does not create; None for a new one."""
        return made.open_reused(self._kernel, self.pin_root, trust_pins=self.trust_pins)

    def _attach_points(self, held: ExitStack) -> dict[int, AttachPoint]:
        """The targets that override those in section names, by slot."""
        inputs = self._image.inputs
        asked = set() if inputs is None else inputs.targets()
        return {
            slot: program.attach_point(self._kernel, held, trust_pins=self.trust_pins)
            for slot, program in enumerate(self.progs)
            if program.target is not None and slot not in asked and program.autoload
        }

    def _take(self, made: LoadedFds) -> None:
        """Take ownership of the loaded fds."""
        for new, fd in zip(self.maps, made.maps, strict=True):
            if fd is None:
                new.leave_out()
            else:
                new.bind(fd)
        for program, program_fd in zip(self.progs, made.programs, strict=True):
            if program_fd is None:
                program.leave_out()
            else:
                program.bind(program_fd, self.links.add)
        for name, link in zip(self._image.links, made.links, strict=True):
            if link is not None:
                from lskel.runtime.attach.link import BpfLink, Link

                # Those of a simulated kernel are links already.
                own = link if isinstance(link, Link) else BpfLink(link.release())
                self.links.add(name, own)

    def _pin(self) -> None:
        paths = ((made, made.shared_at(self.pin_root)) for made in self.maps if made.autocreate)
        shared = [(made, path) for made, path in paths if path is not None]
        if shared and self._kernel.is_running:
            from lskel.runtime.pins import SHARE_AGAIN, Pin, pin_all

            pins = [Pin(made.name, made.fileno(), path) for made, path in shared]
            pin_all(pins, SHARE_AGAIN, trust_pins=self.trust_pins)

    def pin(self, directory: str | os.PathLike[str]) -> tuple[str, ...]:
        """Pin all maps and programs as DIRECTORY/NAME, all or none; returns the paths.

        Creates the directory if missing. UsageError if it is not on a bpffs, if a name exists, or
        if other users can write to it (unless `trust_pins`).
        """
        from lskel.runtime.pins import NEW_PIN, Pin, pin_all, pin_path

        check_running(self._kernel, "has no pins")
        fds = {made.name: made.fileno() for made in self.maps if made.autocreate}
        fds |= {program.name: program.fileno() for program in self.progs if program.loaded}
        where = os.fspath(directory)
        pins = [Pin(name, fd, pin_path(where, name)) for name, fd in fds.items()]
        return pin_all(pins, NEW_PIN, trust_pins=self.trust_pins)

    # -- attach ---------------------------------------------------------------------------------

    def attach(self) -> None:
        """Attach all programs with a target in their section, and register struct_ops; loads first.

        All or nothing; existing links stay. Other programs are left to their own `attach`.
        """
        self._need()
        check_running(self._kernel, "attaches nothing")
        with self._lock:
            self._attach()

    def _attach(self) -> None:
        before = list(self.links)
        for made in self.maps:
            if made.autocreate:
                made.listen()
        try:
            for program in self.progs:
                if (
                    program.loaded
                    and program.attaches_itself()
                    and not self.links.has(program.name)
                ):
                    with at(self._image.name, f"program '{program.name}'"):
                        program.attach()
            for made in self.maps:
                is_struct = made.autocreate and made.definition.type == MapType.STRUCT_OPS
                if is_struct and not self.links.has(made.name):
                    with at(self._image.name, f"map '{made.name}'"):
                        made.register(self)
        except BaseException:
            self.links.close(keep=before)
            raise

    def detach(self) -> None:
        """Close all links; `attach` attaches again."""
        self.links.close()

    # -- close ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Detach and close everything; pins stay. A second call does nothing."""
        with self._lock, ExitStack() as stack:
            self._closed = True
            for made in self.maps:
                stack.callback(made.close)
            for program in self.progs:
                stack.callback(program.close)
            stack.callback(self.links.close)

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "loaded" if self._loaded else "open"
        return f"<{type(self).__name__} {self._image.name}: {state}>"


if TYPE_CHECKING:
    S = TypeVar("S", bound=Collection)
