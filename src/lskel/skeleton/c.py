"""The C skeleton: a header with the interface of ``bpftool gen skeleton -L``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lskel._version import __version__
from lskel.bpf.attr import object_name
from lskel.bpf.enums import AttachType, MapType
from lskel.bpf.flags import MapFlag
from lskel.bpf.kconfig import KconfigType
from lskel.btf.btf import Btf
from lskel.btf.kinds import Kind
from lskel.btf.shape import LETTERS
from lskel.catalog.attach_kinds import AttachCall, AttachKindRow, attach_kind_row
from lskel.catalog.map_types import RING_BUFFERS
from lskel.errors import at
from lskel.loader.generate import PLAIN
from lskel.loader.model import Form, Loader
from lskel.loader.verify import in_form
from lskel.object.sections import SectionSpec, parse_section
from lskel.runtime.arena import check_writable
from lskel.skeleton.c_source import MemberNames, comment, string
from lskel.skeleton.c_types import CTypeDefinitions, Variable
from lskel.skeleton.source import Scope, Source, join, source, template, word
from lskel.trace import (
    AttachBtfId,
    AttachFd,
    GlobalData,
    Input,
    InputKind,
    MapCreate,
    MemberIndex,
    ProgLoad,
    TypeMismatch,
    TypeSize,
    inputs_of,
)

_NOTHING = source("")
# Names of value descriptors in the header's runtime.
_KCONFIG_LETTERS = {
    KconfigType.BOOL: source("'b'"),
    KconfigType.TRISTATE: source("'t'"),
    KconfigType.CHAR: source("'c'"),
    KconfigType.INT: source("'i'"),
    KconfigType.STRING: source("'s'"),
}
# The argument of a link, by the call that creates it.
_LINK_TARGETS = {
    AttachCall.INTERFACE: source("the interface of this index"),
    AttachCall.CGROUP: source("the cgroup of this fd"),
    AttachCall.NETNS: source("the network namespace of this fd"),
    AttachCall.PERF_EVENT: source("the perf event of this fd (Linux 5.15)"),
}
# Members of every skeleton, and its functions in C++.
_MEMBERS_TEXT = """
ctx maps progs links inputs loader_links open open_and_load load attach detach destroy
"""
_MEMBERS = frozenset(_MEMBERS_TEXT.split())
# Names that the preprocessor does not take for macros.
_NEVER_MACROS = {"defined"}
_ORDERS = {
    "little": source("__ORDER_LITTLE_ENDIAN__"),
    "big": source("__ORDER_BIG_ENDIAN__"),
}
_FILTERS = {
    "comment": comment,
    "literal": string,
    "kernel_name": lambda name: string(object_name(name).decode()),
}


@dataclass(frozen=True)
class _CMap:
    """A map; `data` are its variables, if user space maps them.

    Here and below, `name` is part of identifiers, `member` is an identifier.
    """

    slot: int
    name: Source
    member: Source
    create: MapCreate
    per_cpu: bool
    ring: int
    data: GlobalData | None
    is_arena: bool
    variables: list[Variable] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of the variables that user space maps."""
        return 0 if self.data is None else self.data.size

    @property
    def is_readonly(self) -> int:
        """Whether user space maps them read-only."""
        return int(bool(self.create.flags & MapFlag.RDONLY_PROG))


@dataclass(frozen=True)
class _Functions:
    """The functions that a program attaches to by one link; literals, empty if it names none."""

    attach_type: int
    module: Source
    pattern: Source


@dataclass(frozen=True)
class _CProgram:
    """A program; `attach` is how it is attached if its section has the target."""

    name: Source
    member: Source
    autoload: bool
    can_load: bool
    attach: str
    tracepoint: Source
    link_type: int | None
    link_target: Source
    functions: _Functions | None
    target_fd: int | None
    target_id: int | None


@dataclass(frozen=True)
class _CMember:
    name: Source
    offset: int
    size: int
    is_function: int
    prog: Source


@dataclass(frozen=True)
class _StructOps:
    name: Source
    member: Source
    type: Source
    by_link: int
    values: Source
    members: list[_CMember]


@dataclass(frozen=True)
class _KernelInput:
    number: int
    condition: Source
    type: Source  # or the name of an extern
    member: Source  # or the shape of an extern, which has a kind
    kind: int | None = None
    may_be_missing: int = 0


@dataclass(frozen=True)
class _KconfigValue:
    name: Source
    offset: int
    size: int
    type: Source
    is_signed: int
    is_weak: int


def generate_c(loader: Loader, name: str, standalone: bool = False) -> str:
    """The text of a C and C++ header with the loader, and functions to use its maps and programs.

    `name` is the prefix of all names in it; invalid characters become `_`. Without `standalone` the
    header needs libbpf's `bpf/skel_internal.h` (1.0 or newer), which only runs programs without
    BTF: a loader in table form is regenerated in unrolled form, if the object is not too large.
    With `standalone` it needs only the C library.

    UsageError if user space cannot write the variables of an arena; BadBundle if it would have to
    be regenerated, but its bytes are not what its trace generates.
    """
    if loader.form is Form.TABLE and not standalone:
        loader = in_form(loader, PLAIN)
    with at(loader.trace.name):
        return _Header(loader, MemberNames().member(name), standalone).text()


class _Header:
    def __init__(self, loader: Loader, skel: Source, standalone: bool) -> None:
        trace = loader.trace
        self._loader = loader
        self._trace = trace
        self._skel = skel
        self._standalone = standalone
        self._names = MemberNames()
        self._links = Scope()
        self._specs = [parse_section(program.section) for program in trace.programs]
        self._maps = list(self._make_maps())
        self._arenas = [made for made in self._maps if made.is_arena]
        self._types = self._make_types()
        self._data = [self._with_variables(made) for made in self._maps if made.size]
        self._programs = list(self._make_programs())
        self._struct_ops = list(self._make_struct_ops())

    def text(self) -> str:
        """The header."""
        trace, loader, skel = self._trace, self._loader, self._skel
        has_table = bool(loader.btf)
        has_own_run = self._standalone or has_table
        links = [p.name for p in self._programs] + [ops.name for ops in self._struct_ops]
        inputs = list(self._kernel_inputs())
        kconfig = self._kconfig()
        types = self._types.definitions() if self._types is not None else []
        return template("skeleton.h.j2", _FILTERS, trim=True).render(
            version=__version__,
            skel=skel,
            object=trace.name,
            guard=source("__{}_SKEL_H__", word(skel.upper())),
            standalone=self._standalone,
            user_only=self._user_only(),
            fragments=self._fragments(),
            api=source("lskel") if self._standalone else source("bpf"),
            fn=source("lskel") if self._standalone else source("skel"),
            attach_type=source("__u32") if self._standalone else source("enum bpf_attach_type"),
            has_own_run=has_own_run,
            run=source("lskel_run") if has_own_run else source("bpf_load_and_run"),
            types=types,
            maps=self._maps,
            data=self._data,
            arenas=self._arenas,
            reserved=sorted(self._names.reserved),
            macros=sorted(self._names.used - _NEVER_MACROS),
            progs=self._programs,
            modules=[p for p in self._programs if p.functions and p.target_fd is not None],
            inputs=trace.inputs,
            links=links,
            loader_links=[
                (self._programs[link.slot].name, number) for number, link in enumerate(trace.links)
            ],
            context_end=self._context_end(),
            context_size=loader.context_size,
            order=_ORDERS[trace.order],
            struct_ops=self._struct_ops,
            kconfig=kconfig,
            kernel_inputs=inputs,
            shape_letters=string("".join(LETTERS.get(kind, "-") for kind in Kind)),
            blob=string(loader.blob),
            insns=string(loader.insns),
            has_btf=has_table,
            btf=string(loader.btf),
            func_info=string(loader.func_info),
        )

    def _context_end(self) -> Source:
        """A C expression for the end of the loader's context."""
        trace = self._trace
        parts = {
            source("loader_links"): trace.links,
            source("inputs"): trace.inputs,
            source("progs"): trace.programs,
            source("maps"): trace.maps,
        }
        last = next((name for name, has in parts.items() if has), source("ctx"))
        struct = source("struct {}", self._skel)
        return source("__builtin_offsetof({0}, {1}) + sizeof((({0} *)0)->{1})", struct, last)

    def _user_only(self) -> Source | None:
        """A literal that tells why the header is for user space only."""
        trace = self._trace
        reasons = {
            source("kconfig values come from files"): trace.kconfig is not None,
            source("the kernel's BTF is read from a file"): bool(
                trace.struct_ops or any(not isinstance(i, TypeMismatch) for i in trace.inputs)
            ),
            source("functions are found in a file"): self._attaches_to_functions,
            source("arenas are mapped into a process"): bool(self._arenas),
            source("the loader program is run by system calls"): bool(self._loader.btf),
        }
        return next(
            (
                source('"this header is for user space: {}"', reason)
                for reason, is_so in reasons.items()
                if is_so
            ),
            None,
        )

    def _fragments(self) -> list[str]:
        """The parts of the C runtime that this header needs, in order."""
        trace = self._trace
        kinds = {type(kind) for kind in trace.inputs}
        has_targets = AttachBtfId in kinds
        has_functions = self._attaches_to_functions
        has_btf = bool(trace.inputs or trace.struct_ops or has_functions)
        runs = self._standalone or bool(self._loader.btf)
        wanted = {
            "base": True,
            "bpf": runs or has_btf or bool(self._arenas) or trace.kconfig is not None,
            "types": self._standalone,
            "link": self._standalone or bool(trace.struct_ops),
            "arena": bool(self._arenas),
            "run": runs,
            "sizes": any(made.per_cpu or made.ring for made in self._maps),
            "kconfig": trace.kconfig is not None,
            "btf": has_btf,
            "target": has_targets,
            "functions": has_functions,
            "struct_ops": bool(trace.struct_ops),
        }
        return [f"c_{name}.h.j2" for name, is_wanted in wanted.items() if is_wanted]

    @property
    def _attaches_to_functions(self) -> bool:
        return any(program.functions for program in self._programs)

    # -- maps -----------------------------------------------------------------------------------

    def _make_maps(self) -> Iterable[_CMap]:
        names, members = Scope(), Scope()
        for slot, made in enumerate(self._trace.maps):
            create = self._trace.map_create(slot)
            data = self._trace.global_data(slot)
            is_arena = create.type == MapType.ARENA
            is_internal = data is not None and not is_arena and made.section.startswith(".")
            name = word(made.section[1:] if is_internal else made.name)
            if (is_arena or data is not None) and name in _MEMBERS:
                name = source("{}_", name)
            name = names.claim(name)
            member = members.claim(self._names.member(name))
            if data is not None and not create.flags & MapFlag.MMAPABLE:
                data = None
            if is_arena and data is not None:
                check_writable(made.name, create.flags)
            yield _CMap(
                slot,
                name,
                member,
                create,
                per_cpu=create.type == MapType.PERF_EVENT_ARRAY and not create.max_entries,
                ring=create.max_entries if create.type in RING_BUFFERS else 0,
                data=data,
                is_arena=is_arena,
            )

    def _make_types(self) -> CTypeDefinitions | None:
        if self._trace.btf is None:
            return None
        taken = [source("{}__{}", self._skel, made.name) for made in self._maps]
        prefix = source("{}__", self._skel)
        return CTypeDefinitions(Btf(self._trace.btf), self._names, prefix, taken)

    def _with_variables(self, made: _CMap) -> _CMap:
        if self._types is not None and made.data is not None:
            made.variables.extend(self._types.variables(made.data.section))
        return made

    def _kconfig(self) -> dict[str, object] | None:
        kconfig = self._trace.kconfig
        if kconfig is None:
            return None
        variables = [
            _KconfigValue(
                name=string(var.name),
                offset=var.offset,
                size=var.size,
                type=_KCONFIG_LETTERS[var.type],
                is_signed=int(var.is_signed),
                is_weak=int(var.is_weak),
            )
            for var in kconfig.vars
        ]
        return {"member": self._maps[kconfig.slot].member, "vars": variables}

    # -- programs -------------------------------------------------------------------------------

    def _make_programs(self) -> Iterable[_CProgram]:
        inputs = self._trace.inputs
        members = Scope()
        for slot, made in enumerate(self._trace.programs):
            op, spec = self._trace.prog_load(slot), self._specs[slot]
            row = None if op is None else attach_kind_row(spec.kind, op.type, op.attach_type)
            attach, tracepoint = _how_attached(row, spec)
            link_type, link_target = _linked(row, spec)
            name = self._links.claim(word(made.name))
            yield _CProgram(
                name=name,
                member=members.claim(self._names.member(name)),
                autoload=made.autoload,
                can_load=op is not None,
                attach=attach,
                tracepoint=tracepoint,
                link_type=link_type,
                link_target=link_target,
                functions=_functions(row, spec),
                target_fd=_number(inputs, AttachFd(slot)),
                target_id=_number(inputs, AttachBtfId(slot)),
            )

    def _kernel_inputs(self) -> Iterable[_KernelInput]:
        """Inputs from the kernel's BTF, each with the condition that something loaded needs it."""
        users: dict[Input, dict[Source, None]] = {}
        for value, user in self._users():
            users.setdefault(value, {})[user] = None
        for number, kind in enumerate(self._trace.inputs):
            condition = join(" || ", users.get(Input(number), ())) or source("1")
            match kind:
                case TypeSize():
                    yield _KernelInput(number, condition, string(kind.type), _NOTHING)
                case MemberIndex():
                    yield _KernelInput(number, condition, string(kind.type), string(kind.member))
                case TypeMismatch():
                    yield _KernelInput(
                        number,
                        condition,
                        string(kind.name),
                        string(kind.shape),
                        int(Kind.FUNC if kind.is_function else Kind.VAR),
                        int(kind.is_function and kind.is_weak),
                    )

    def _users(self) -> Iterable[tuple[Input, Source]]:
        """The inputs of operations, and the conditions that these are not skipped."""
        for op in self._trace.ops:
            if isinstance(op, MapCreate) and op.slot is not None:
                user = source("!lskel_is_fd(skel->maps.{}.map_fd)", self._maps[op.slot].member)
            elif isinstance(op, ProgLoad):
                program = self._programs[op.slot]
                least = 0 if program.autoload else 1
                user = source("skel->progs.{}.prog_fd >= {}", program.member, least)
                for find in dict.fromkeys(extern.find.op for extern in op.externs):
                    yield from ((value, user) for value in inputs_of(self._trace.ops[find]))
            else:
                continue
            yield from ((value, user) for value in inputs_of(op))

    # -- struct_ops -------------------------------------------------------------------------------

    def _make_struct_ops(self) -> Iterable[_StructOps]:
        programs = {
            made.name: program.member
            for made, program in zip(self._trace.programs, self._programs, strict=True)
        }
        for item in self._trace.struct_ops:
            values, members = b"", []
            for member in item.ops.members:
                prog = programs.get(member.program) if member.program is not None else None
                place = source("-1")
                if prog is not None:
                    struct = source("struct {}", self._skel)
                    place = source("(int)offsetof({}, progs.{}.prog_fd)", struct, prog)
                size, is_function = len(member.value), int(member.is_function)
                members.append(_CMember(string(member.name), len(values), size, is_function, place))
                values += member.value
            made = self._maps[item.slot]
            by_link = int(bool(made.create.flags & MapFlag.LINK))
            yield _StructOps(
                name=self._links.claim(made.name),
                member=made.member,
                type=string(item.ops.type),
                by_link=by_link,
                values=string(values),
                members=members,
            )


def _how_attached(row: AttachKindRow | None, spec: SectionSpec) -> tuple[str, Source]:
    """How a program is attached by its section name, and the tracepoint's name in C."""
    call = None if row is None else row.call
    if call is AttachCall.TRACEPOINT and spec.target:
        return "tracepoint", string(spec.target)
    if call in (AttachCall.LOADED_FOR, AttachCall.REPLACE):
        return "tracepoint", source("NULL")
    if call is AttachCall.FUNCTIONS and spec.target:
        return "functions", _NOTHING
    return ("iter" if call is AttachCall.ITERATOR else ""), _NOTHING


def _functions(row: AttachKindRow | None, spec: SectionSpec) -> _Functions | None:
    """The functions of a program that attaches to many."""
    if row is None or row.call is not AttachCall.FUNCTIONS or row.attach_type is None:
        return None
    module, _, pattern = spec.target.rpartition(":")
    return _Functions(int(row.attach_type), string(module), string(pattern))


def _linked(row: AttachKindRow | None, spec: SectionSpec) -> tuple[int | None, Source]:
    """The attach type of a link that needs a target, and a description of the target."""
    target = None if row is None or row.call is None else _LINK_TARGETS.get(row.call)
    if row is None or target is None:
        return None, _NOTHING
    is_event = row.call is AttachCall.PERF_EVENT
    attach_type = AttachType.PERF_EVENT if is_event else spec.attach_type
    return (None, _NOTHING) if attach_type is None else (int(attach_type), target)


def _number(inputs: tuple[InputKind, ...], kind: InputKind) -> int | None:
    return inputs.index(kind) if kind in inputs else None
