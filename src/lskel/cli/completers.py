"""Shell completions: files, and the names in an object on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lskel.errors import printable
from lskel.skeleton.model import variables_name
from lskel.skeleton.python_source import identifier

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from lskel.describe.summary import Summary

Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]

# The type of a completion after which the word goes on: no space follows.
PART = "part"
# The names of the command arguments that are objects.
_SOURCES = ("source", "sources", "objects", "a", "b")


def files(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files, completed by the shell."""
    return [_item(incomplete, "file")]


def directories(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Directories, completed by the shell."""
    return [_item(incomplete, "dir")]


def names(of: Callable[[Summary], Iterable[str]], *, then: str = "") -> Completer:
    """Names in the first object on the command line; `then` follows each."""

    def offer(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        summary = _summary(ctx)
        known = () if summary is None else dict.fromkeys(filter(_is_plain, of(summary)))
        kind = PART if then else "plain"
        return [_item(name + then, kind) for name in known if name.startswith(incomplete)]

    return offer


def programs(summary: Summary) -> Iterable[str]:
    """Programs."""
    return (program.name for program in summary.programs)


def maps(summary: Summary) -> Iterable[str]:
    """Maps."""
    return (made.name for made in summary.maps)


def buffers(summary: Summary) -> Iterable[str]:
    """Ring and perf buffers."""
    types = ("ringbuf", "perf_event_array")
    return (made.name for made in summary.maps if made.type in types)


def autoloadable(summary: Summary) -> Iterable[str]:
    """For --autoload: programs and struct_ops maps."""
    yield from programs(summary)
    yield from (made.name for made in summary.maps if made.struct_ops is not None)


def variables(summary: Summary) -> Iterable[str]:
    """For --set: global variables, with their sections."""
    for made in summary.maps:
        section = identifier(variables_name(made.section))
        yield from (f"{section}.{variable.name}" for variable in made.variables)


def kconfig(summary: Summary) -> Iterable[str]:
    """The kconfig values that the object needs."""
    return (extern.name for extern in summary.externs if extern.kind == "kconfig")


def map_settings(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """For --map: a map, an attribute, and the values that have names."""
    from lskel.bpf.enums import MapType
    from lskel.bpf.flags import MapFlag
    from lskel.bpf.names import enum_names, flag_names
    from lskel.runtime.maps.base import Map

    values = {"type": enum_names(MapType), "map_flags": flag_names(MapFlag)}
    offer = _settings(maps, Map._settable, values)
    return offer(ctx, param, incomplete)


def program_settings(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """For --prog: a program, an attribute, and the values that have names."""
    from lskel.bpf.enums import AttachType, ProgType
    from lskel.bpf.flags import ProgFlag
    from lskel.bpf.names import enum_names, flag_names
    from lskel.runtime.program import Program

    values = {
        "type": enum_names(ProgType),
        "expected_attach_type": enum_names(AttachType),
        "flags": flag_names(ProgFlag),
    }
    offer = _settings(programs, Program._settable, values)
    return offer(ctx, param, incomplete)


def _settings(
    of: Callable[[Summary], Iterable[str]],
    attributes: Iterable[str],
    values: Mapping[str, Iterable[str]],
) -> Completer:
    def offer(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        path, sign, begun = incomplete.partition("=")
        if sign:
            known = values.get(path.rpartition(".")[2], ())
            return [_item(f"{path}={name}") for name in known if name.startswith(begun)]
        named = names(of, then=".")(ctx, param, path)
        if named:
            return named
        name, _, begun = path.rpartition(".")
        found = (f"{name}.{attribute}=" for attribute in attributes if attribute.startswith(begun))
        return [_item(item, PART) for item in found]

    return offer


def types(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For --type: a program, then its type."""
    program, sign, begun = incomplete.partition("=")
    if not sign:
        return names(programs, then="=")(ctx, param, incomplete)
    from lskel.bpf.enums import ProgType
    from lskel.bpf.names import enum_names

    known = enum_names(ProgType)
    return [_item(f"{program}={name}") for name in known if name.startswith(begun)]


def _is_plain(name: str) -> bool:
    """Whether the name is one word for every shell. Others are not offered: bash would insert
    them without quotes.
    """
    return name.replace(".", "_").isidentifier() and name == printable(name)


def _item(value: str, kind: str = "plain") -> CompletionItem:
    from click.shell_completion import CompletionItem

    return CompletionItem(value, type=kind)


def _summary(ctx: click.Context) -> Summary | None:
    from lskel.cli.generation import Generation
    from lskel.cli.sources import open_silently
    from lskel.describe.summary import summarize
    from lskel.errors import LskelError

    for word in _words(ctx):
        if Path(word).is_file():
            try:
                return summarize(open_silently(word, Generation()))
            except LskelError:
                continue  # the command will report it
    return None


def _words(ctx: click.Context) -> Iterable[str]:
    """The objects; click leaves them in `args` if the last option has no value yet."""
    for name in _SOURCES:
        value = ctx.params.get(name) or ()
        yield from (value,) if isinstance(value, str) else value
    yield from ctx.args
