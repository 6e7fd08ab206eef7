"""A program of a collection: autoload before it is loaded, attaching and running afterwards."""

from __future__ import annotations

import sys

from lskel.bpf.attr import load
from lskel.bpf.enums import Cmd, ProgType
from lskel.bpf.layouts import TEST
from lskel.errors import Closed, ReadOnly, UsageError, WrongType
from lskel.light_typing import NamedTuple
from lskel.runtime.kernel import RUNNING, bpf_of, check_running
from lskel.runtime.objects import Fd, obj_pin
from lskel.runtime.request import ProgramRequest
from lskel.runtime.settings import Settings, nothing
from lskel.runtime.syscall import address_of, host_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from lskel.runtime.attach.link import Link
    from lskel.runtime.info import ProgInfo
    from lskel.runtime.kernel import Kernel
    from lskel.runtime.maps.base import Map


# Room for headers that a program adds to its packet.
_HEADROOM = 256


class ProgramDefinition(NamedTuple):
    """A program as the object declares it.

    `kind` and `target` are the two parts of its section name: "kprobe" and "do_unlinkat" of
    ``kprobe/do_unlinkat``; `type` and `attach_type` are those of BPF_PROG_LOAD (`ProgType`,
    `AttachType`; 0 if none).
    """

    name: str
    kind: str
    target: str
    type: int
    attach_type: int
    autoload: bool = True

    @property
    def section(self) -> str:
        """Its section name, without a leading ``?``."""
        return f"{self.kind}/{self.target}" if self.target else self.kind


class RunResult(NamedTuple):
    """A program's return value, its packet and context afterwards, and nanoseconds per run."""

    value: int
    data: bytes
    ctx: bytes
    duration: int


class Program(Settings):
    """A program, before and after loading. Attach kinds are subclasses.

    `target` is the attach target of programs that need one at load time (freplace, fentry), if the
    section name has none: a function, hook or tracepoint of the kernel, or ``PROGRAM[:FUNCTION]``
    for a BPF program, by pin path or id (``id:42``). `maps` are the object's maps by name: some
    attach kinds write to them.
    """

    _internal = frozenset(("attached", "bind", "kernel", "maps", "needed", "placed", "request"))

    def __init__(self, definition: ProgramDefinition) -> None:
        self.definition = definition
        self._target: str | None = None
        self.maps: Mapping[str, Map] = {}
        # The kernel in which it is, or will be, loaded.
        self.kernel: Kernel = RUNNING
        # Called before an operation that needs the loaded program.
        self.needed: Callable[[], None] = nothing
        self._autoload = definition.autoload
        self._fd: Fd | None = None
        self._keep: Callable[[str, Link], None] | None = None

    @property
    def name(self) -> str:
        """Its name in the object; the kernel may truncate it."""
        return self.definition.name

    @property
    def target(self) -> str | None:
        """Its attach target, for those that need one at load time; settable before load()."""
        return self._target

    @target.setter
    def target(self, target: str | None) -> None:
        if self._fd is not None:
            raise ReadOnly(f"program '{self.name}' is already loaded", hint="set it before load()")
        self._target = target

    @property
    def autoload(self) -> bool:
        """Whether it is loaded with the others; settable before load()."""
        return self._autoload

    @autoload.setter
    def autoload(self, wanted: bool) -> None:
        if self._fd is not None:
            raise ReadOnly(f"program '{self.name}' is already loaded", hint="set it before load()")
        if not isinstance(wanted, bool):
            raise WrongType(
                f"program '{self.name}': expected True or False, got {type(wanted).__name__}"
            )
        if wanted and self.definition.type == ProgType.UNSPEC:
            raise UsageError(
                f"program '{self.name}' cannot be loaded: the loader was generated without it",
                hint=f"generate with --autoload {self.name} to see why",
            )
        self._autoload = wanted

    def request(self) -> ProgramRequest:
        """Its part of a load request."""
        definition = self.definition
        loads, by_default = self._autoload, definition.autoload
        return ProgramRequest(self.name, definition.type, loads, by_default)

    @property
    def loaded(self) -> bool:
        """Whether it is loaded."""
        return self._fd is not None and not self._fd.closed

    def fileno(self) -> int:
        """Its fd; loads the collection if necessary.

        UsageError if it is not loaded, Closed after `close`.
        """
        if self._fd is None:
            self.needed()
        if self._fd is None:
            hint = "" if self._autoload else "set its `autoload` to True before load()"
            raise UsageError(f"program '{self.name}' is not loaded", hint=hint)
        if self._fd.closed:
            raise Closed(f"program '{self.name}' is closed")
        return self._fd.fileno()

    def info(self) -> ProgInfo:
        """What the kernel reports about it."""
        from lskel.runtime.info import prog_info

        return prog_info(self.fileno(), bpf=bpf_of(self.kernel))

    def pin(self, path: str | os.PathLike[str], *, trust_pins: bool = False) -> None:
        """Pin it to a bpffs, so that it outlives this process; as `obj_pin`."""
        check_running(self.kernel, "has no pins")
        obj_pin(self.fileno(), path, trust_pins=trust_pins)

    def run(self, data: bytes = b"", ctx: bytes = b"", *, repeat: int = 1) -> RunResult:
        """Run it once, or `repeat` times, with a packet or a context (BPF_PROG_RUN).

        For networking programs `data` is a packet, whose final content is in the result. For
        ``SEC("syscall")`` and others `ctx` is the context. BpfError EINVAL or ENOTSUPP for types
        that BPF_PROG_RUN does not support.
        """
        changed, room = bytearray(data), bytearray(len(data) + _HEADROOM if data else 0)
        context = bytearray(ctx)
        fields: dict[str, int] = {}
        if data:
            fields |= {"data_size_in": len(data), "data_in": address_of(changed)}
            fields |= {"data_size_out": len(room), "data_out": address_of(room)}
        if ctx:
            fields |= {"ctx_size_in": len(ctx), "ctx_in": address_of(context)}
            if self.definition.type != ProgType.SYSCALL:  # changed in place
                fields |= {"ctx_size_out": len(ctx), "ctx_out": address_of(context)}
        if repeat != 1:
            fields["repeat"] = repeat
        check_running(self.kernel, "runs no programs but loaders")
        attr = host_attr(TEST, "batch_size", prog_fd=self.fileno(), **fields)
        bpf_of(self.kernel)(Cmd.PROG_RUN, attr)

        def number(field: str) -> int:
            return load(attr, TEST, field, sys.byteorder)

        return RunResult(
            number("retval"),
            bytes(room[: number("data_size_out")]),
            bytes(context),
            number("duration"),
        )

    def attaches_itself(self) -> bool:
        """Whether `attach` needs no arguments: the section name has the attach target."""
        return False

    def attach(self) -> Link:
        """Attach it to the target in its section name; closing the link detaches.

        UsageError for kinds that cannot be attached, or if the section name has no target.
        """
        raise UsageError(
            f"program '{self.name}' of section '{self.definition.kind}' cannot be attached by lskel"
        )

    def placed(self, kernel: Kernel) -> None:
        """Set the kernel in which it will be loaded."""
        self.kernel = kernel
        if not kernel.is_running:
            self.attach = self._not_running  # type: ignore[method-assign]
        self._fixed = True

    def bind(self, fd: Fd, keep: Callable[[str, Link], None]) -> None:
        """It was loaded and owns `fd`; `keep` is called with its name and each new link."""
        self._fd = fd
        self._keep = keep

    def _not_running(self, *_: object, **__: object) -> Link:
        check_running(self.kernel, "attaches nothing")
        raise AssertionError

    def close(self) -> None:
        """Close the fd; links stay."""
        if self._fd is not None:
            self._fd.close()

    def attached(self, link: Link) -> None:
        """Subclasses report each link, so that the collection can detach it."""
        if self._keep is not None:
            self._keep(self.name, link)

    def __repr__(self) -> str:
        state = f"fd {self.fileno()}" if self.loaded else "not loaded"
        return f"<{type(self).__name__} {self.name}: {state}>"
