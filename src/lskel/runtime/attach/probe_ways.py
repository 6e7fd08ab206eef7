"""The ways in which a program of type KPROBE attaches, by section name.

Imported on use: the catalogue is large.
"""

from __future__ import annotations

from lskel.bpf.enums import ProgType
from lskel.catalog.attach_kinds import ATTACH_KINDS, BY_NAME, AttachKindRow, AttachTarget
from lskel.errors import UsageError, WrongType, got
from lskel.runtime.attach.target import is_return

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.attach.link import Link
    from lskel.runtime.attach.probe import ProbeProgram

_SYSCALLS = ("ksyscall", "kretsyscall")
# Kinds whose link has many functions: programs are loaded for that, by their attach type.
_MULTI = tuple(row for row in ATTACH_KINDS if row.prog_type == ProgType.KPROBE and row.attach_type)


def probe_row(section: str) -> AttachKindRow | None:
    """The row of a section name such as "uprobe/libc.so.6:malloc"; None for other text."""
    row = BY_NAME.get(section.partition("/")[0])
    return row if row is not None and row.prog_type == ProgType.KPROBE else None


def attach_as(program: ProbeProgram, section: str) -> Link:
    """As `ProbeProgram.attach_as`."""
    if not isinstance(section, str):
        raise WrongType(f"program '{program.name}': expected a section name, got {got(section)}")
    row = probe_row(section)
    kind, _, target = section.partition("/")
    if row is None or row.target is None:
        raise UsageError(
            f"program '{program.name}' cannot attach as '{section}'",
            hint="kinds of probes are kprobe, uprobe, usdt, and their variants",
        )
    if not target:
        raise UsageError(f"'{section}' has no attach target", hint=f"{kind}/{row.target.metavar}")
    return _WAYS[row.target](program, kind, target)


def check_loaded_for(program: ProbeProgram, method: str) -> None:
    """Refuse what the kernel would with EINVAL: a program is loaded for a link to many
    functions, or for other links.

    Source: kernel/bpf/syscall.c, bpf_prog_attach_check_attach_type.
    """
    attach_type = program.definition.attach_type
    loaded_for = next((row for row in _MULTI if row.attach_type == attach_type), None)
    needed = next((row for row in _MULTI if row.target is _MADE_BY.get(method)), None)
    if (loaded_for and loaded_for.target) is (needed and needed.target):
        return
    loaded, hint = "links to one function", ""
    if loaded_for is not None:
        loaded = f"{loaded_for.name} links"
        hint = "use another SEC(), or set its expected attach type before load()"
    if needed is not None and needed.attach_type is not None:
        hint = (
            f'use SEC("{needed.name}"), or set its expected attach type to '
            f"{needed.attach_type.name} before load()"
        )
    raise UsageError(
        f"program '{program.name}' was loaded for {loaded}, which {method} does not make",
        hint=hint,
    )


def _as_kprobe(program: ProbeProgram, kind: str, target: str) -> Link:
    way = program.attach_ksyscall if kind in _SYSCALLS else program.attach_kprobe
    return way(target, returns=is_return(kind))


def _as_kprobe_multi(program: ProbeProgram, kind: str, target: str) -> Link:
    return program.attach_kprobe_multi(target, returns=is_return(kind))


def _as_uprobe(program: ProbeProgram, kind: str, target: str) -> Link:
    from lskel.runtime.attach.uprobe import parse_uprobe_target

    return program.attach_uprobe(*parse_uprobe_target(target), returns=is_return(kind))


def _as_uprobe_multi(program: ProbeProgram, kind: str, target: str) -> Link:
    binary, _, pattern = target.partition(":")
    return program.attach_uprobe_multi(binary, pattern, returns=is_return(kind))


def _as_usdt(program: ProbeProgram, _: str, target: str) -> Link:
    from lskel.runtime.attach.usdt import parse_usdt_target

    return program.attach_usdt(*parse_usdt_target(target))


_WAYS = {
    AttachTarget.FUNCTION: _as_kprobe,
    AttachTarget.FUNCTIONS: _as_kprobe_multi,
    AttachTarget.BINARY_FUNCTION: _as_uprobe,
    AttachTarget.BINARY_FUNCTIONS: _as_uprobe_multi,
    AttachTarget.PROBE: _as_usdt,
}

# Those that make links to many functions.
_MADE_BY = {
    "attach_kprobe_multi": AttachTarget.FUNCTIONS,
    "attach_uprobe_multi": AttachTarget.BINARY_FUNCTIONS,
}
