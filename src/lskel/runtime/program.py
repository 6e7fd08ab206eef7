"""A program of a collection: autoload before it is loaded, attaching and running afterwards."""

from __future__ import annotations

import errno
import sys

from lskel.bpf.attr import load
from lskel.bpf.enums import AttachType, Cmd, ProgType
from lskel.bpf.flags import ProgFlag
from lskel.bpf.layouts import PROG_ASSOC_STRUCT_OPS, TEST
from lskel.bpf.names import ATTACH_TYPE_PREFIX, PROG_TYPE_PREFIX, enum_value, flag_value
from lskel.errors import Closed, OutOfRange, ReadOnly, UsageError, WrongType, at, got
from lskel.light_typing import NamedTuple
from lskel.runtime.kernel import RUNNING, bpf_of, check_running
from lskel.runtime.objects import Fd, obj_pin
from lskel.runtime.request import ProgramRequest
from lskel.runtime.settings import Settings, nothing
from lskel.runtime.syscall import BpfError, address_of, host_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack
    from typing import Any, Literal

    from lskel.runtime.attach.link import Link
    from lskel.runtime.attach_point import AttachPoint
    from lskel.runtime.info import ProgInfo
    from lskel.runtime.kernel import Kernel
    from lskel.runtime.maps.base import Map
    from lskel.runtime.stream import Stream


_ASSOC_HINTS = {
    errno.EBUSY: "it is associated with another struct_ops map",
    errno.EINVAL: "a struct_ops map and a program of another type are needed, and Linux 7.0",
}
# Room for headers that a program adds to its packet.
_HEADROOM = 256
# Old kernels accept no larger log buffer; memory is used as far as the log is written.
_LOG_SIZE = (1 << 24) - 1
# BPF_LOG_LEVEL1 | BPF_LOG_LEVEL2 | BPF_LOG_STATS
_MAX_LOG_LEVEL = 7
_TYPE = (PROG_TYPE_PREFIX, "program type")
_ATTACH_TYPE = (ATTACH_TYPE_PREFIX, "attach type")


class ProgramDefinition(NamedTuple):
    """A program as the object declares it.

    `kind` and `target` are the two parts of its section name: "kprobe" and "do_unlinkat" of
    ``kprobe/do_unlinkat``; `type`, `attach_type` and `flags` are those of BPF_PROG_LOAD
    (`ProgType`, `AttachType`, `ProgFlag`; 0 if none).
    """

    name: str
    kind: str
    target: str
    type: int
    attach_type: int
    autoload: bool = True
    flags: int = 0

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

    Its class is that of its types: a program whose `type` is set has another class from then on,
    except in a module that carries its runtime.
    `maps` are the object's maps by name: some attach kinds write to them.
    """

    _settable = ("type", "expected_attach_type", "flags", "autoload", "target", "log_level")
    _internal = frozenset(("attached", "bind", "kernel", "maps", "needed", "placed", "request"))

    def __init__(self, definition: ProgramDefinition) -> None:
        self.definition = definition
        self.declared = definition
        self._target: str | None = None
        self.maps: Mapping[str, Map] = {}
        # The kernel in which it is, or will be, loaded.
        self.kernel: Kernel = RUNNING
        # Called before an operation that needs the loaded program.
        self.needed: Callable[[], None] = nothing
        self._autoload = definition.autoload
        self._is_left_out = False
        self._log_level = 0
        self._log: bytearray | None = None
        self._fd: Fd | None = None
        self._streams: dict[str, Stream] = {}
        self._keep: Callable[[str, Link], None] | None = None

    @property
    def name(self) -> str:
        """Its name in the object; the kernel may truncate it."""
        return self.definition.name

    @property
    def _called(self) -> str:
        return f"program '{self.name}'"

    def _check_settable(self) -> None:
        if self._fd is not None or self._is_left_out:
            state = "was left out" if self._is_left_out else "is already loaded"
            raise ReadOnly(f"program '{self.name}' {state}", hint="set it before load()")

    def leave_out(self) -> None:
        """The others are loaded, without it."""
        self._is_left_out = True

    @property
    def target(self) -> str | None:
        """Its attach target, for those that need one at load time; settable before load().

        Overrides that of the section name. A function, hook or tracepoint of the kernel, or
        ``PROGRAM[:FUNCTION]`` for a BPF program, by pin path or id (``id:42``).
        """
        return self._target

    @target.setter
    def target(self, target: str | None) -> None:
        self._check_settable()
        if target is not None and not isinstance(target, str):
            raise WrongType(f"{self._called}: expected the name of a target, got {got(target)}")
        self._target = target

    def attach_point(self, kernel: Kernel, held: ExitStack, *, trust_pins: bool) -> AttachPoint:
        """The `target` that overrides the one in the section name; `held` keeps its fd open.

        UsageError for programs that load without a target.
        """
        raise UsageError(
            f"program '{self.name}' takes no target: section '{self.definition.section}' is not "
            "fentry, fexit, fmod_ret, tp_btf, lsm, iter or freplace",
            hint="name it when you attach the program",
        )

    @property
    def type(self) -> int:
        """Its `ProgType`, settable before load(), as a number or name ("xdp")."""
        return self.definition.type

    @type.setter
    def type(self, wanted: int | str) -> None:
        self._set("type", wanted, lambda name: enum_value(ProgType, name, *_TYPE))

    @property
    def expected_attach_type(self) -> int:
        """Its `AttachType`, settable before load(), as a number or name ("trace_fexit").

        0 for struct_ops, where it is the member.
        """
        return self.definition.attach_type

    @expected_attach_type.setter
    def expected_attach_type(self, wanted: int | str) -> None:
        if self.declared.type == ProgType.STRUCT_OPS:
            raise UsageError(f"program '{self.name}' is attached as the member that it is")
        self._set("attach_type", wanted, lambda name: enum_value(AttachType, name, *_ATTACH_TYPE))

    @property
    def flags(self) -> int:
        """The flags of BPF_PROG_LOAD, settable before load(): a number or names ("sleepable")."""
        return self.definition.flags

    @flags.setter
    def flags(self, wanted: int | str) -> None:
        self._set("flags", wanted, lambda names: flag_value(ProgFlag, names))

    def _set(
        self,
        field: Literal["type", "attach_type", "flags"],
        wanted: int | str,
        named: Callable[[str], int],
    ) -> None:
        self._check_settable()
        if self.declared.type == ProgType.UNSPEC:
            raise self._not_generated()
        value = wanted
        if isinstance(value, str):
            with at(f"program '{self.name}'"):
                value = named(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise WrongType(f"{self._called}: expected a number or name, got {got(value)}")
        if not 0 <= value < 1 << 32:
            raise OutOfRange(f"program '{self.name}': {value} does not fit into 32 bits")
        before = self.definition
        changed: Any = {field: int(value)}
        self.definition = before._replace(**changed)
        if (self.type, self.expected_attach_type) != (before.type, before.attach_type):
            self._become()

    def _become(self) -> None:
        """Have the class of its types."""
        from importlib import import_module

        # Few skeletons need all kinds of programs, so that none carries them for this.
        try:
            kinds = import_module(f"{__name__.rpartition('.')[0]}.attach.kinds")
            made = self.definition
            self.__class__ = kinds.program_class(made.kind, made.type, made.attach_type)
        except ImportError:
            return

    @property
    def log_level(self) -> int:
        """The level of the verifier's log of this program, settable before load().

        1 and 2 as BPF_LOG_LEVEL1 and 2, 4 for statistics, 0 for no log. `log` has it then.
        """
        return self._log_level

    @log_level.setter
    def log_level(self, level: int) -> None:
        self._check_settable()
        if isinstance(level, bool) or not isinstance(level, int):
            raise WrongType(f"{self._called}: expected a log level, got {got(level)}")
        if not 0 <= level <= _MAX_LOG_LEVEL:
            raise OutOfRange(
                f"{self._called}: no log level {level}",
                hint="1 and 2 as BPF_LOG_LEVEL1 and 2, 4 for statistics, or a sum of them",
            )
        self._log_level = level

    @property
    def log(self) -> tuple[str, ...]:
        """The lines of the verifier's log, if `log_level` was set and it was loaded."""
        if self._log is None or self._fd is None:
            return ()
        from lskel.runtime.failure import split_log

        return split_log(self._log)

    @property
    def autoload(self) -> bool:
        """Whether it is loaded with the others; settable before load()."""
        return self._autoload

    @autoload.setter
    def autoload(self, wanted: bool) -> None:
        self._check_settable()
        if not isinstance(wanted, bool):
            raise WrongType(f"{self._called}: expected True or False, got {got(wanted)}")
        if wanted and self.definition.type == ProgType.UNSPEC:
            raise self._not_generated()
        self._autoload = wanted

    def _not_generated(self) -> UsageError:
        return UsageError(
            f"program '{self.name}' cannot be loaded: the loader was generated without it",
            hint=f"generate with --autoload {self.name} to see why",
        )

    def request(self) -> ProgramRequest:
        """Its part of a load request, except an attach target."""
        made, declared = self.definition, self.declared
        pairs = {
            "type": (made.type, declared.type),
            "expected_attach_type": (made.attach_type, declared.attach_type),
            "flags": (made.flags, declared.flags),
        }
        self._log = bytearray(_LOG_SIZE) if self._log_level and self._autoload else None
        return ProgramRequest(
            self.name,
            made.type,
            self._autoload,
            declared.autoload,
            attr={name: now for name, (now, before) in pairs.items() if now != before},
            log=self._log,
            log_level=self._log_level,
        )

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

    @property
    def stdout(self) -> Stream:
        """What it prints by ``bpf_stream_printk(BPF_STDOUT, ...)``. Linux 6.17."""
        return self._stream("STDOUT")

    @property
    def stderr(self) -> Stream:
        """What it prints by ``bpf_stream_printk(BPF_STDERR, ...)``, and the kernel about it."""
        return self._stream("STDERR")

    def _stream(self, name: str) -> Stream:
        from lskel.runtime.stream import Stream, StreamId

        return self._streams.setdefault(name, Stream(self, StreamId[name]))

    def assoc_struct_ops(self, ops: Map) -> None:
        """Associate it with a struct_ops map, which its kfuncs then act on. Linux 7.0.

        As libbpf's bpf_program__assoc_struct_ops: before or after the map is registered; loads if
        necessary. It stays until the program is freed, and keeps the map. BpfError: EBUSY if
        it is associated with another one, EINVAL if the map is not a struct_ops map, or the program
        one of struct_ops, which are associated with their own.
        """
        check_running(self.kernel, "has no struct_ops")
        attr = host_attr(PROG_ASSOC_STRUCT_OPS, "flags", map_fd=ops.fileno(), prog_fd=self.fileno())
        try:
            bpf_of(self.kernel)(Cmd.PROG_ASSOC_STRUCT_OPS, attr)
        except BpfError as error:
            error.hint = _ASSOC_HINTS.get(error.errno, error.hint)
            raise

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
