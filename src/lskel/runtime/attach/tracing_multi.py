"""Tracing programs of many functions with one link: fentry.multi, fexit.multi, fsession.multi.

Source: kernel/bpf/trampoline.c and kernel/bpf/btf.c (btf_distill_func_proto) of Linux 7.3.
"""

from __future__ import annotations

import errno
import struct
from contextlib import ExitStack

from lskel.bpf.enums import AttachType
from lskel.btf import types as t
from lskel.btf.btf import POINTER_SIZE
from lskel.btf.kinds import Kind
from lskel.errors import NotFound, UsageError, at
from lskel.runtime.attach.functions import is_pattern, matcher, traceable_functions
from lskel.runtime.attach.hints import with_hints
from lskel.runtime.attach.link import BpfLink, link_create
from lskel.runtime.attach.target import target_of
from lskel.runtime.attach_point import load_target, module_of
from lskel.runtime.kernel_btf import KernelBtf
from lskel.runtime.program import Program
from lskel.runtime.syscall import address_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lskel.btf.btf import Btf
    from lskel.btf.types import TypeId

_HINTS = {
    errno.EINVAL: "such links need Linux 7.2; or a function occurs twice, or the kernel does not "
    "let it be traced, or not by sleepable programs, or not at its return",
    errno.ENOENT: "a function is not traceable; see /sys/kernel/tracing/available_filter_functions",
    errno.EBUSY: "something else patched a function",
    errno.E2BIG: "a function has the maximum number of programs, or there are too many functions",
    errno.EOPNOTSUPP: "the kernel lacks CONFIG_HAVE_SINGLE_FTRACE_DIRECT_OPS (x86-64 has it), or a "
    "function returns more than 8 bytes",
}
# MAX_BPF_FUNC_ARGS, and the bytes of an argument and of a result.
_MAX_ARGUMENTS, _MAX_ARGUMENT, _MAX_RESULT = 12, 16, 8


def attach_tracing_multi(
    prog_fd: int,
    attach_type: AttachType,
    functions: str | Sequence[str],
    *,
    module: str = "",
    cookies: Sequence[int] = (),
) -> BpfLink:
    """Attach to many functions with one link. Linux 7.2, on x86-64.

    `functions` are names, optionally with a cookie each, or a pattern: "*" is any text, "?" any
    character. They are functions of vmlinux, or of the `module` that the program was loaded for. Of
    those that match a pattern, the ones that the kernel cannot trace are left out. UsageError for
    contradicting arguments; NotFound if a function does not exist or none matches; BpfError if the
    kernel refuses.
    """
    if not functions:
        raise UsageError("no functions to attach to")
    if isinstance(functions, str) and cookies:
        raise UsageError("cookies need a list of functions, not a pattern")
    if cookies and len(cookies) != len(functions):
        raise UsageError(f"{len(cookies)} cookies for {len(functions)} functions")
    ids = _ids(functions, module)
    raw = struct.pack(f"={len(ids)}I", *ids)
    numbers = struct.pack(f"={len(cookies)}Q", *cookies)
    one = functions if isinstance(functions, str) else functions[0] if len(ids) == 1 else ""
    with at(one or f"{len(ids)} functions"), with_hints(_HINTS):
        return link_create(
            prog_fd,
            0,
            attach_type,
            tracing_multi_ids=address_of(raw),
            tracing_multi_cookies=address_of(numbers),
            tracing_multi_cnt=len(ids),
        )


def _ids(functions: str | Sequence[str], module: str) -> list[TypeId]:
    kernel = KernelBtf()
    with ExitStack() as stack:
        btf = kernel.vmlinux
        if module:
            btf = kernel.of_module(stack.enter_context(kernel.module(module)))
    if isinstance(functions, str) and is_pattern(functions):
        if found := matching_ids(functions, btf):
            return found
        raise NotFound(f"no traceable function of {_named(module)} matches '{functions}'")
    names = [functions] if isinstance(functions, str) else functions
    return [_function(name, btf, module) for name in names]


def _function(name: str, btf: Btf, module: str) -> TypeId:
    found = btf.find_kind(name, Kind.FUNC)
    if found is None:
        raise NotFound(f"no function '{name}' in the BTF of {_named(module)}")
    return found


def matching_ids(pattern: str, btf: Btf) -> list[TypeId]:
    """The functions of a BTF that match and can be traced: one of each name, in the BTF's order."""
    fits = matcher(pattern)
    found: dict[str, TypeId] = {}
    for type_id, name in btf.names_of(Kind.FUNC):
        if fits(name):
            found.setdefault(name, type_id)
    traceable = frozenset(traceable_functions()) if found else frozenset()
    return [
        type_id
        for name, type_id in found.items()
        if name in traceable and _is_traceable(btf, type_id)
    ]


def _named(module: str) -> str:
    return f"module '{module}'" if module else "vmlinux"


def _is_traceable(btf: Btf, type_id: TypeId) -> bool:
    """Whether trampolines can pass the function's arguments, and its result on."""
    proto = btf[btf.get(type_id, t.Func).type]
    if not isinstance(proto, t.FuncProto) or len(proto.params) > _MAX_ARGUMENTS:
        return False
    returned = btf[btf.resolve(proto.type)]
    if isinstance(returned, t.CompositeType) or not 0 <= _size(btf, proto.type) <= _MAX_RESULT:
        return False
    # The last parameter of a variadic function is void.
    return all(0 < _size(btf, param.type) <= _MAX_ARGUMENT for param in proto.params)


def _size(btf: Btf, type_id: TypeId) -> int:
    """The bytes of an argument or a result; 0 for void, -1 if the kernel passes no such type."""
    found = btf[btf.resolve(type_id)]
    if isinstance(found, t.Ptr):
        return POINTER_SIZE
    if isinstance(found, t.Int | t.Enum | t.CompositeType):
        return found.size
    return 0 if isinstance(found, t.Void) else -1


class TracingMultiProgram(Program):
    """A program of ``SEC("fentry.multi/...")``, "fexit.multi" or "fsession.multi". Linux 7.2.

    After the slash is a pattern or a function, after ``MODULE:`` if it is one of a module, for
    whose BTF the program is loaded then.
    """

    def attaches_itself(self) -> bool:
        """Whether the section name has a pattern."""
        return bool(self.definition.target)

    def attach(
        self, functions: str | Sequence[str] | None = None, *, cookies: Sequence[int] = ()
    ) -> BpfLink:
        """Attach to functions, by default the pattern in the section name, until the link is closed

        `functions` are names, or a pattern, which may begin with the ``MODULE:`` that the program
        was loaded for; ``bpf_get_attach_cookie`` returns the function's cookie. UsageError without
        functions, or for those of another module; else the errors of `attach_tracing_multi`.
        """
        module = module_of(self.definition, load_target(self) or "")
        if functions is None or isinstance(functions, str):
            text = target_of(self, functions, "functions", "fentry.multi/tcp_*")
            named, _, functions = text.rpartition(":")
            if named and named != module:
                raise UsageError(
                    f"program '{self.name}' was not loaded for module '{named}'",
                    hint=f'use SEC("{self.definition.kind}/{named}:{functions}")',
                )
        link = attach_tracing_multi(
            self.fileno(),
            AttachType(self.definition.attach_type),
            functions,
            module=module,
            cookies=cookies,
        )
        self.attached(link)
        return link
