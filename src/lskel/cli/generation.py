"""The options for generating a loader from an object."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

import click

from lskel.bpf.enums import AttachType, ProgType
from lskel.bpf.names import ATTACH_TYPE_PREFIX, PROG_TYPE_PREFIX, enum_name, enum_value
from lskel.catalog.attach_kinds import ATTACH_KINDS
from lskel.cli import completers
from lskel.cli.common import grouped_options, pairs
from lskel.errors import UsageError, at
from lskel.loader.generate import AUTO
from lskel.loader.model import Form
from lskel.object.model import Object

DEFAULT_FORM = Form.TABLE.value

_TYPE = "PATTERN=TYPE[:ATTACH]"
_EXCLUSIVE_FORM = "MAP=PROGRAM"
# Their attach target is in the section name; without one they do not load.
_ATTACHED_BY_NAME = {ProgType.STRUCT_OPS, *(k.prog_type for k in ATTACH_KINDS if k.btf_target)}


class GivenType(NamedTuple):
    """The types of a program, from --type."""

    type: ProgType
    attach: AttachType | None


class Generation(NamedTuple):
    """How to generate a loader; `autoload`: whether programs and struct_ops maps are loaded.

    `types` are by program name, or by a pattern for the names of programs and sections;
    `exclusive` are the only programs that may use maps, by map; `event_types` as for
    `Object.with_event_types`.
    """

    name: str | None = None
    form: str | None = None
    types: Mapping[str, GivenType] = {}
    autoload: Mapping[str, bool] = {}
    debug: bool = False
    links: bool = False
    event_types: Mapping[str, str] = {}
    exclusive: Mapping[str, str] = {}

    @property
    def by_name(self) -> tuple[str, ...]:
        """The set options that name programs or maps."""
        given = {
            "--type": bool(self.types),
            "--autoload": True in self.autoload.values(),
            "--no-autoload": False in self.autoload.values(),
            "--exclusive": bool(self.exclusive),
        }
        return tuple(option for option, is_given in given.items() if is_given)

    @property
    def for_one(self) -> tuple[str, ...]:
        """The set options that apply only to a single object."""
        return (*(["--name"] if self.name else []), *self.by_name)

    def check_unused(self, what: str) -> None:
        """UsageError if options are set that `what` cannot take: it is already generated."""
        given = [*self.by_name, *(["--debug"] if self.debug else [])]
        given += ["--links"] if self.links else []
        given += ["--form"] if self.form else []
        if given:
            raise UsageError(
                f"{', '.join(given)} cannot change {what}: it is already generated",
                hint="use the object it was generated from",
            )

    def applied(self, obj: Object) -> Object:
        """The object with the types, programs and maps of the options."""
        programs = {program.name for program in obj.programs}
        # A name goes before the patterns that match it.
        given: dict[str, GivenType] = {}
        for pattern in sorted(self.types, key=lambda pattern: pattern not in programs):
            with at("--type"):
                for name in _named(obj, pattern):
                    given.setdefault(name, self.types[pattern])
        for name, type_ in given.items():
            with at("--type"):
                obj = _with_type(obj, name, type_)
        for name, wanted in self.autoload.items():
            with at("--autoload" if wanted else "--no-autoload"):
                obj = _with_autoload(obj, name, wanted=wanted)
        for name, program in self.exclusive.items():
            with at("--exclusive"):
                obj = obj.with_map(name, exclusive=obj.program(program).name)
        return obj.with_event_types(self.event_types)


def _named(obj: Object, pattern: str) -> list[str]:
    """The program of this name, or those that the pattern fits; of several, those without a type.

    NotFound where there are none.
    """
    found = [program for program in obj.programs if program.name == pattern] or [
        program
        for program in obj.programs
        if fnmatchcase(program.spec.name, pattern) or fnmatchcase(program.name, pattern)
    ]
    if not found:
        obj.program(pattern)
    untyped = [program for program in found if program.spec.prog_type == ProgType.UNSPEC]
    return [program.name for program in untyped or found]


def _with_type(obj: Object, name: str, given: GivenType) -> Object:
    spec = obj.program(name).spec
    if spec.prog_type not in (ProgType.UNSPEC, given.type):
        says = enum_name(ProgType, spec.prog_type)
        raise UsageError(f"program '{name}' has type {says} by its section name '{spec.name}'")
    if given.type in _ATTACHED_BY_NAME:
        raise UsageError(
            f"program '{name}': type {enum_name(ProgType, given.type)} needs an attach target in "
            "the section name",
            hint='such as SEC("fentry/FUNCTION"), SEC("lsm/HOOK") or SEC("freplace/FUNCTION")',
        )
    return obj.with_type(name, given.type, given.attach)


def _with_autoload(obj: Object, name: str, *, wanted: bool) -> Object:
    programs = [program.name for program in obj.programs]
    maps = [a_map.name for a_map in obj.maps if a_map.struct_ops is not None]
    if name in programs:
        return obj.with_program(name, autoload=wanted)
    if name in maps:
        return obj.with_map(name, autocreate=wanted)
    known = ", ".join([*programs, *maps]) or "none"
    raise UsageError(f"no program or struct_ops map '{name}'", hint=f"available: {known}")


def _generation(
    name: str | None,
    types: tuple[str, ...],
    autoload: tuple[str, ...],
    no_autoload: tuple[str, ...],
    exclusive: tuple[str, ...],
    form: str | None = None,
    debug: bool = False,
    links: bool = False,
) -> Generation:
    with at("--type"):
        given = {program: _parse_type(text) for program, text in pairs(types, _TYPE).items()}
    if both := sorted(set(autoload) & set(no_autoload)):
        raise UsageError(f"'{both[0]}': both --autoload and --no-autoload")
    wanted = dict.fromkeys(autoload, True) | dict.fromkeys(no_autoload, False)
    with at("--exclusive"):
        owners = pairs(exclusive, _EXCLUSIVE_FORM)
    return Generation(name, form, given, wanted, debug, links, exclusive=owners)


def _parse_type(text: str) -> GivenType:
    type_name, sign, attach_name = text.partition(":")
    type_ = enum_value(ProgType, type_name, PROG_TYPE_PREFIX, "program type")
    if not sign:
        return GivenType(type_, None)
    kinds = (kind for kind in ATTACH_KINDS if kind.prog_type == type_)
    usual = {enum_name(AttachType, k.attach_type) for k in kinds if k.attach_type is not None}
    attach = enum_value(AttachType, attach_name, ATTACH_TYPE_PREFIX, "attach type", sorted(usual))
    return GivenType(type_, attach)


_NAME = click.option(
    "--name", help="The object's name [default: the file name up to the first dot]."
)
_TYPES = click.option(
    "--type",
    "types",
    multiple=True,
    metavar=_TYPE,
    shell_complete=completers.types,
    help="The type of programs whose section names have none, such as sk_skb or "
    "sk_skb:sk_skb_stream_verdict. PATTERN is a program's name, or matches the names of programs "
    "or sections: 'classifier/*=sched_cls'.",
)
_AUTOLOAD = click.option(
    "--autoload",
    multiple=True,
    metavar="NAME",
    shell_complete=completers.names(completers.autoloadable),
    help="Load this program or struct_ops map although its section name begins with '?'.",
)
_NO_AUTOLOAD = click.option(
    "--no-autoload",
    multiple=True,
    metavar="NAME",
    shell_complete=completers.names(completers.autoloadable),
    help="Do not load this program or struct_ops map.",
)
_EXCLUSIVE = click.option(
    "--exclusive",
    multiple=True,
    metavar=_EXCLUSIVE_FORM,
    shell_complete=completers.names(completers.maps, then="="),
    help="Only this program may use this map; the kernel refuses others (Linux 6.18).",
)
_FORM = click.option(
    "--form",
    type=click.Choice([*(form.value for form in Form), AUTO]),
    help="The form of the loader program [default: table; for Python auto; for C unrolled, or "
    "table if the object is too large]; auto is the fastest: unrolled for small objects. Before "
    "Linux 5.17 lskel unrolls table loaders.",
)
_DEBUG = click.option(
    "--debug",
    is_flag=True,
    help="The loader prints the result of each operation to /sys/kernel/tracing/trace_pipe.",
)

_LINKS = click.option(
    "--links",
    is_flag=True,
    help="The loader also attaches programs that need nothing from user space to attach: fentry, "
    "fexit, fmod_ret, tp_btf, lsm, iter.",
)

# Argument `generation`: for commands that show objects, and for those that generate loaders.
_OF_OBJECTS = (_NAME, _TYPES, _AUTOLOAD, _NO_AUTOLOAD, _EXCLUSIVE)
object_options = grouped_options("generation", _generation, *_OF_OBJECTS)
generation_options = grouped_options("generation", _generation, _FORM, *_OF_OBJECTS, _DEBUG, _LINKS)
