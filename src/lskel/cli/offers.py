"""What shells offer to complete: files, and the names that an object on the command line has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lskel.errors import printable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from lskel.describe.summary import Summary

Offer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]

# The type of what is followed by more, so that no space goes behind it.
PART = "part"
# What the arguments of commands are called that take objects.
_SOURCES = ("source", "sources", "objects", "a", "b")


def files(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files, as the shell finds them."""
    return [_item(incomplete, "file")]


def directories(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Directories, as the shell finds them."""
    return [_item(incomplete, "dir")]


def names(of: Callable[[Summary], Iterable[str]], *, then: str = "") -> Offer:
    """Names out of the first object that is on the command line already; `then` follows them."""

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
    """Maps that events come from."""
    types = ("ringbuf", "perf_event_array")
    return (made.name for made in summary.maps if made.type in types)


def switched(summary: Summary) -> Iterable[str]:
    """What --autoload takes: programs and struct_ops maps."""
    yield from programs(summary)
    yield from (made.name for made in summary.maps if made.struct_ops is not None)


def variables(summary: Summary) -> Iterable[str]:
    """What --set takes: global variables, with their sections."""
    for made in summary.maps:
        section = made.section.removeprefix(".").replace(".", "_")
        yield from (f"{section}.{variable.name}" for variable in made.variables)


def configuration(summary: Summary) -> Iterable[str]:
    """Values of the kernel's configuration that are asked for."""
    return (extern.name for extern in summary.externs if extern.kind == "kconfig")


def types(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What --type takes: a program, then its type."""
    program, sign, begun = incomplete.partition("=")
    if not sign:
        return names(programs, then="=")(ctx, param, incomplete)
    from lskel.bpf.enums import ProgType

    known = (member.lower() for member in ProgType.__members__ if member != "UNSPEC")
    return [_item(f"{program}={name}") for name in known if name.startswith(begun)]


def _is_plain(name: str) -> bool:
    """Whether no shell takes the name for more than a word. Others are not offered: bash would put
    them on the command line as they are.
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
                continue  # the command will say so
    return None


def _words(ctx: click.Context) -> Iterable[str]:
    """The objects; click leaves them in `args` where the last option has no value yet."""
    for name in _SOURCES:
        value = ctx.params.get(name) or ()
        yield from (value,) if isinstance(value, str) else value
    yield from ctx.args
