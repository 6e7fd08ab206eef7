"""What all generated skeletons have in common: open, set, load, attach, use, close.

A skeleton's module says what is in its object: maps and programs in the loader's order, the loader
program and its data. How these are loaded is said here, once.
"""

from __future__ import annotations

import errno
import sys
from contextlib import ExitStack

from lskel.bpf import context
from lskel.bpf.enums import Cmd, MapType
from lskel.errors import NoPermission, ReplayError, UsageError, at
from lskel.named import Generic, NamedTuple
from lskel.runtime.loader import check_byte_order, low_fds_taken, run_loader
from lskel.runtime.loader_fds import LoaderFd
from lskel.runtime.maps.base import Map
from lskel.runtime.objects import Fd, Kind
from lskel.runtime.program import Program
from lskel.runtime.signals import uninterrupted
from lskel.runtime.syscall import BpfError, address_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol, TypeVar

    from lskel.runtime.attach.link import Link
    from lskel.runtime.loader import Result

    T = TypeVar("T")

    class Find(Protocol):
        """Finds the number that an input is on this machine."""

        def __call__(self, skeleton: Skeleton, held: ExitStack, /) -> int: ...

else:
    T = object


_LOG_SIZE = 1 << 20
# The verifier says something for people at this level.
_LOG_LEVEL = 1
_NUMBER_SIZE = 4
# How the kernel's log of a BTF begins (btf_verifier_log_hdr in kernel/bpf/btf.c).
_BTF_LOG = b"magic: 0x"


class Image(NamedTuple):
    """A loader program, its data, and what it does.

    `insns` are the program's instructions, `btf` and `func_info` describe its functions where it
    has several; `blob` is the value of its map. `calls` are its operations as phrases; the blob's
    32-bit number at `status` says which one failed. `inputs` find the numbers that only the target
    knows; `links` name the programs that the loader attaches itself.
    """

    name: str
    order: str
    insns: bytes
    blob: bytes
    btf: bytes
    func_info: bytes
    status: int
    calls: tuple[str, ...]
    inputs: tuple[Find, ...] = ()
    links: tuple[str, ...] = ()


class Namespace(Generic[T]):
    """Things by name, as attributes, in the object's order; by the object's own name with []."""

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
        raise KeyError(name)

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            raise self._unknown(name)

        def __setattr__(self, name, value):
            if name not in vars(self):
                raise self._unknown(name)
            raise AttributeError(f"{self._kind} '{name}' cannot be replaced (set what is in it)")

    def _unknown(self, name: str) -> AttributeError:
        there = ", ".join(vars(self)) or "none"
        return AttributeError(f"there is no {self._kind} '{name}' (there is: {there})")


class Maps(Namespace[Map]):
    """The maps of a skeleton."""

    _kind = "map"


class Programs(Namespace[Program]):
    """The programs of a skeleton."""

    _kind = "program"


class Links:
    """The links of a skeleton: as an attribute, the last one of a program or map.

    `owners` are the names of programs and maps by their attributes.
    """

    def __init__(self, /, **owners: str) -> None:
        self._owners = owners
        self._links: list[tuple[str, Link]] = []

    def __iter__(self) -> Iterator[Link]:
        return (link for _, link in self._links)

    def __len__(self) -> int:
        return len(self._links)

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            wanted = self._owners.get(name, name)
            for owner, link in reversed(self._links):
                if owner == wanted:
                    return link
            raise AttributeError(f"'{name}' is not attached")

    def has(self, name: str) -> bool:
        """Whether a program or struct_ops map is attached."""
        return any(owner == name and not link.closed for owner, link in self._links)

    def add(self, name: str, link: Link) -> None:
        """Keep a link until the skeleton closes."""
        self._links.append((name, link))

    def close(self, keep: int = 0) -> None:
        """Detach, the last first, all but the first `keep`; goes on where something fails."""
        with ExitStack() as stack:
            for _, link in self._links[keep:]:
                stack.callback(link.close)
            del self._links[keep:]


class Skeleton:
    """An object: its maps, programs, links and global variables.

    Until `load` sizes, initial values and programs can be changed; afterwards they are live. A
    context manager, which detaches and closes everything on leaving. `pin_root` is the directory
    of a bpffs for maps that are shared by name; with `trust_pins` others may write there.
    """

    _SETTABLE = frozenset(("maps", "progs", "links", "pin_root", "trust_pins"))

    def __init__(self, image: Image, maps: Maps, progs: Programs, links: Links) -> None:
        self.maps = maps
        self.progs = progs
        self.links = links
        self.pin_root = "/sys/fs/bpf"
        self.trust_pins = False
        self._image = image
        self._loaded = False
        self._closed = False
        by_name = {made.name: made for made in maps}
        for program in progs:
            program.maps = by_name
        where = {
            name: attr
            for attr, made in vars(maps).items()
            if made.variables is not None
            for name in made.variables._members_
        }
        for made in maps:
            if made.variables is not None:
                made.variables.elsewhere_ = where

    if not TYPE_CHECKING:

        def __setattr__(self, name, value):
            if name[0] != "_" and name not in self._SETTABLE:
                raise AttributeError(f"{type(self).__name__} has nothing called '{name}' to set")
            object.__setattr__(self, name, value)

    @property
    def loaded(self) -> bool:
        """Whether maps and programs are in the kernel."""
        return self._loaded and not self._closed

    # -- load -----------------------------------------------------------------------------------

    def load(self) -> None:
        """Create the maps and load the programs, by running the loader program once. Linux 5.17.

        All or nothing. UsageError where it was loaded before, or what was set does not fit;
        NoPermission; ReplayError names the operation that the kernel refused, with the verifier's
        log in `log`; BadInput where the loader hands back other fds than those of this object.
        """
        image = self._image
        if self._loaded or self._closed:
            state = "closed" if self._closed else "loaded already"
            raise UsageError(f"'{image.name}' is {state}", hint="open another one")
        check_byte_order(image.name, image.order)
        with at(image.name), uninterrupted(), ExitStack() as undo:
            self._check_targets()
            given = self._given(undo)
            with ExitStack() as held:
                inputs = [find(self, held) for find in image.inputs]
                ctx = self._context(given, inputs)
                result = self._run(ctx, given)
                if result.value:
                    raise self._failure(result, given, inputs)
            undo.callback(self.close)
            self._loaded = True
            self._take(result.fds, given)
            self._pin()
            undo.pop_all()

    def _check_targets(self) -> None:
        """UsageError for a target that the program cannot be told."""
        asked = {getattr(find, "slot", None) for find in self._image.inputs}
        for slot, program in enumerate(self.progs):
            if program.target is not None and slot not in asked:
                raise UsageError(
                    f"program '{program.name}' takes no target",
                    hint="only those take one whose section's name must say one, and does not",
                )

    def _given(self, undo: ExitStack) -> dict[int, Fd]:
        """Maps that exist before the loader runs, by slot."""
        given: dict[int, Fd] = {}
        with low_fds_taken():
            for slot, made in enumerate(self.maps):
                fd = made.given(self.pin_root, trust_pins=self.trust_pins)
                if fd is not None:
                    given[slot] = undo.enter_context(fd)
        return given

    def _context(
        self, given: dict[int, Fd], inputs: list[int], only: str | None = None
    ) -> bytearray:
        """What the loader is told; with `only`, all programs but that one are left out."""
        maps, progs = len(self.maps), len(self.progs)
        ctx = bytearray(context.size(maps, progs, len(inputs), len(self._image.links)))

        def store(offset: int, value: int, size: int = _NUMBER_SIZE) -> None:
            ctx[offset : offset + size] = value.to_bytes(size, sys.byteorder, signed=value < 0)

        store(0, len(ctx))
        for slot, made in enumerate(self.maps):
            entries = made.wanted_entries()
            if entries != made.definition.max_entries:
                store(context.max_entries(slot), entries)
            initial = made.changed_value()
            if initial is not None:
                store(context.initial_value(slot), address_of(initial), 8)
        for slot, fd in given.items():
            store(context.map_fd(slot), fd.fileno())
        for slot, program in enumerate(self.progs):
            wanted = _is_loaded(program, only)
            if wanted != program.definition.autoload:
                number = context.LOAD if wanted else context.LEAVE_OUT
                store(context.program_fd(maps, slot), number)
        for number, value in enumerate(inputs):
            store(context.input_value(maps, progs, number), value)
        return ctx

    def _run(self, ctx: bytearray, given: dict[int, Fd], only: str | None = None) -> Result:
        image = self._image
        wanted = list(self._wanted(given, only))
        try:
            return run_loader(image.insns, image.blob, ctx, image.btf, image.func_info, wanted)
        except BpfError as error:
            what = f"the kernel refuses the loader program: {error.what}"
            if error.errno == errno.EPERM:
                from lskel.runtime.permissions import why_refused

                raise NoPermission(what, errno=error.errno, hint=why_refused()) from error
            is_old = error.cmd == Cmd.PROG_LOAD and error.errno == errno.EINVAL
            hint = "loader programs need Linux 5.17" if is_old else ""
            raise ReplayError(what, errno=error.errno, hint=hint) from error

    def _failure(self, result: Result, given: dict[int, Fd], inputs: list[int]) -> ReplayError:
        from lskel.runtime.failure import failure

        image, code = self._image, -result.value
        number = _number(result.blob, image.status)
        if number == context.NO_OP or number >= len(image.calls):
            return ReplayError("the loader failed before its first call", errno=code)
        phrase = image.calls[number]
        log: tuple[str, ...] = ()
        for program in self.progs:
            if phrase.startswith("BPF_PROG_LOAD") and phrase.endswith(f" '{program.name}'"):
                log = self._log(program.name, given, inputs)
        error = failure(image.name, number, phrase, code, log)
        error.what = error.what.removeprefix(f"{image.name}: ")
        return error

    def _log(self, program: str, given: dict[int, Fd], inputs: list[int]) -> tuple[str, ...]:
        """The verifier's log for a program, by a second run that loads nothing else."""
        from lskel.runtime.failure import split_log

        ctx = self._context(given, inputs, only=program)
        log = bytearray(_LOG_SIZE)
        for offset, value, size in (
            (context.LOG_LEVEL, _LOG_LEVEL, 4),
            (context.LOG_SIZE, len(log), 4),
            (context.LOG_BUF, address_of(log), 8),
        ):
            ctx[offset : offset + size] = value.to_bytes(size, sys.byteorder)
        result = self._run(ctx, given, program)
        if result.value == 0:  # it loads now: what stood in the way has gone
            for fd in result.fds:
                fd.close()
            return ()
        # Where the kernel did not get as far as the program, the log is still that of the BTF.
        return () if log.startswith(_BTF_LOG) else split_log(log)

    def _wanted(self, given: dict[int, Fd], only: str | None) -> Iterator[LoaderFd]:
        """What the loader makes: maps that are not given, then programs and links."""
        maps, progs, inputs = len(self.maps), len(self.progs), len(self._image.inputs)
        for slot, new in enumerate(self.maps):
            if slot not in given:
                yield LoaderFd(Kind.MAP, context.map_fd(slot), new.name, new.definition.type)
        loaded = set()
        for slot, program in enumerate(self.progs):
            if _is_loaded(program, only):
                loaded.add(program.name)
                offset = context.program_fd(maps, slot)
                yield LoaderFd(Kind.PROG, offset, program.name, program.definition.type)
        for number, name in enumerate(self._image.links):
            if name in loaded:
                yield LoaderFd(Kind.LINK, context.link_fd(maps, progs, inputs, number), name)

    def _take(self, made: tuple[Fd, ...], given: dict[int, Fd]) -> None:
        """Own what the loader made."""
        fds = iter(made)
        for slot, new in enumerate(self.maps):
            new.bind(given.get(slot) or next(fds))
        for program in self.progs:
            if program.autoload:
                program.bind(next(fds), self.links.add)
        for name in self._image.links:
            if self.progs[name].loaded:
                self.links.add(name, next(fds))

    def _pin(self) -> None:
        shared = {made.name: made.fileno() for made in self.maps if made.definition.pinned}
        if shared:
            from lskel.runtime.pins import SHARE_AGAIN, pin_fds

            pin_fds(shared, self.pin_root, SHARE_AGAIN, trust_pins=self.trust_pins)

    # -- attach ---------------------------------------------------------------------------------

    def attach(self) -> None:
        """Attach all programs that say where they belong, and register struct_ops; loads first.

        All or nothing; what is attached already stays. Programs that need to be told where are left
        to their own `attach`.
        """
        if not self.loaded:
            self.load()
        before = len(self.links)
        for made in self.maps:
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
                if made.definition.type == MapType.STRUCT_OPS and not self.links.has(made.name):
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
        """Detach, and give everything back; what was pinned stays. Does nothing the second time."""
        self._closed = True
        with ExitStack() as stack:
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
    S = TypeVar("S", bound=Skeleton)


def _is_loaded(program: Program, only: str | None) -> bool:
    return program.autoload if only is None else program.name == only


def _number(memory: bytes | bytearray, offset: int) -> int:
    return int.from_bytes(memory[offset : offset + _NUMBER_SIZE], sys.byteorder)
