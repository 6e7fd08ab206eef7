"""Attaching a program of each kind, in a child process, to targets without activity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from lskel.bpf.flags import ProgFlag
from lskel.doctor import bpf_objects, lsm
from lskel.doctor.attach_kinds import ATTACH_KINDS, AttachKind, Sandbox, SandboxKind
from lskel.doctor.child import in_child
from lskel.doctor.finding import (
    TRACING_RIGHTS,
    Answer,
    Finding,
    NotTried,
    no,
    refused,
    unknown,
    yes,
)
from lskel.doctor.multi_program import register_ops, replace_function
from lskel.doctor.sandbox import cgroup_root, enter_own_network, own_cgroup, own_file
from lskel.errors import LskelError, NotSupported, printable
from lskel.object.sections import SectionSpec, parse_section
from lskel.runtime.attach.kinds import program_class
from lskel.runtime.kernel_btf import KernelBtf
from lskel.runtime.objects import Fd
from lskel.runtime.permissions import Capability
from lskel.runtime.program import ProgramDefinition
from lskel.runtime.token_fields import scope

if TYPE_CHECKING:
    from lskel.runtime.attach.link import Link

# Detaching mostly waits for CPUs that may still run the program. But tc programs of one interface
# share a qdisc, which the last one removes.
_AT_ONCE = {SandboxKind.HERE: 8, SandboxKind.NETWORK: 1, SandboxKind.CGROUP: 8}
_BY_LINK = "by link"


class KindLine(NamedTuple):
    """The result for an attach kind."""

    name: str
    group: str
    finding: Finding


def attach_all() -> tuple[KindLine, ...]:
    """Attach and detach each attach kind once, in a child process."""
    try:
        return in_child(lambda: tuple(_attach_all()))
    except LskelError as error:
        return tuple(nothing_tried(unknown(f"not tried: {error.what}", error.hint)))


def nothing_tried(why: Finding) -> Iterator[KindLine]:
    """The same finding for every kind."""
    for kind in ATTACH_KINDS:
        yield KindLine(kind.name, kind.group, why)
    for other in _OTHERS:
        yield KindLine(other.name, other.group, why)


class _Other(NamedTuple):
    """An attach kind that needs more than one program."""

    name: str
    group: str
    run: Callable[[], Link]
    takes: str
    rights: tuple[Capability, ...]


_OTHERS = (
    _Other("freplace", "tracing", replace_function, "Linux 5.6 without lockdown", TRACING_RIGHTS),
    _Other(
        "struct_ops",
        "network",
        register_ops,
        "Linux 5.6, CONFIG_DEBUG_INFO_BTF, CONFIG_INET",
        TRACING_RIGHTS,
    ),
)


def _attach_all() -> Iterator[KindLine]:
    with own_file() as file:
        yield from _attach_in(SandboxKind.HERE, Sandbox(file=file))
    try:
        enter_own_network()
    except LskelError as error:
        why = refused(error, "CONFIG_NET_NS", (Capability.SYS_ADMIN,))
        yield from _not_in(
            SandboxKind.NETWORK, unknown(f"no target to try it: {why.said}", why.remedy)
        )
    else:
        yield from _attach_in(SandboxKind.NETWORK, Sandbox())
    yield from _attach_in_cgroup()
    for other in _OTHERS:
        yield KindLine(other.name, other.group, _found(other.run, other.takes, other.rights))


def _attach_in_cgroup() -> Iterator[KindLine]:
    root = cgroup_root()
    if not root:
        why = no("cgroup v2 is not mounted", "mount -t cgroup2 cgroup2 DIRECTORY")
        yield from _not_in(SandboxKind.CGROUP, why)
        return
    try:
        with own_cgroup(root) as cgroup:
            lines = list(_attach_in(SandboxKind.CGROUP, Sandbox(cgroup=cgroup)))
    except LskelError as error:
        yield from _not_in(SandboxKind.CGROUP, unknown(error.what, error.hint))
    else:
        yield from lines


def _not_in(where: SandboxKind, why: Finding) -> Iterator[KindLine]:
    for kind in ATTACH_KINDS:
        if kind.where is where:
            yield KindLine(kind.name, kind.group, why)


def _attach_in(where: SandboxKind, place: Sandbox) -> Iterator[KindLine]:
    def line(kind: AttachKind) -> KindLine:
        finding = _found(lambda: _attach(kind, place), kind.takes, kind.rights)
        return KindLine(kind.name, kind.group, _called(kind, finding))

    # The calls of each thread take the same BPF token.
    with ThreadPoolExecutor(
        _AT_ONCE[where], initializer=scope.take, initargs=(scope.token,)
    ) as pool:
        yield from pool.map(line, (kind for kind in ATTACH_KINDS if kind.where is where))


def _found(attach: Callable[[], Link], takes: str, rights: tuple[Capability, ...]) -> Finding:
    """Attach, and detach again."""
    try:
        link = attach()
        found = yes(_BY_LINK if _is_link(link) else "")
        link.close()
    except NotTried as error:
        return unknown(f"not tried: {error.what}", error.hint)
    except LskelError as error:
        # The target of the test means nothing to the user.
        return refused(error, takes, rights)._replace(said=printable(error.what))
    return found


def _is_link(attached: Link) -> bool:
    """Whether it is a bpf_link, which can be pinned."""
    try:
        return attached.info().id > 0
    except NotSupported:
        return False


def _attach(kind: AttachKind, place: Sandbox) -> Link:
    spec = parse_section(kind.section)
    attach_type = spec.attach_type or 0
    definition = ProgramDefinition(kind.name, spec.kind, spec.target, spec.prog_type, attach_type)
    program = program_class(spec.kind, spec.prog_type, attach_type)(definition)
    with _load(spec, kind.result) as fd:
        program.bind(fd, lambda _, __: None)
        return kind.attach(program, place)


def _load(spec: SectionSpec, result: int) -> Fd:
    fields: dict[str, int] = {}
    if spec.attach_type is not None:
        fields["expected_attach_type"] = spec.attach_type
    if spec.sleepable:
        fields["prog_flags"] = ProgFlag.SLEEPABLE
    if spec.btf_target is None:
        return bpf_objects.load_program(spec.prog_type, bpf_objects.returns(result), **fields)
    found = KernelBtf().find(spec.btf_target.prefix + spec.target, spec.btf_target.kind)
    with ExitStack() as stack:
        if found.module is not None:
            fields["attach_btf_obj_fd"] = stack.enter_context(found.module).fileno()
        fields["attach_btf_id"] = found.type_id
        return bpf_objects.load_program(spec.prog_type, bpf_objects.returns(result), **fields)


def _called(kind: AttachKind, finding: Finding) -> Finding:
    """LSM programs also attach if the kernel never calls them."""
    if not kind.name.startswith("lsm") or finding.answer is not Answer.YES:
        return finding
    try:
        if lsm.hooks_are_called():
            return finding
    except LskelError as error:
        why = refused(error, kind.takes)
        return unknown(f"it attaches; whether it is called is unknown: {why.said}", why.remedy)
    return no("LSM hooks do not call BPF programs", lsm.how_to_have_them_called())
