"""Generate the manual pages, share/man/man1/*.1, from the help of the commands.

python scripts/gen_man.py            writes them
python scripts/gen_man.py --check    lists those out of date, and exits with 1
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from inspect import cleandoc
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import click

from lskel._version import __version__
from lskel.cli import COMMANDS, cli
from lskel.cli.status import meanings

TARGET = Path(__file__).resolve().parent.parent / "share" / "man" / "man1"
# The date of this version.
DATE = "2026-11-28"

_WIDTH = 78
_ESCAPES = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}


class Item(NamedTuple):
    """An entry of a list."""

    term: str
    text: str


ENVIRONMENT = (
    Item("NO_COLOR", "If not empty, output has no colours."),
    Item("FORCE_COLOR", "If not empty, output has colours even if not to a terminal."),
    Item("TERM", "If `dumb`, no colours and no progress bar."),
)
_BTF = Item("/sys/kernel/btf/*", "BTF of the kernel and its modules.")
_CONFIG = Item(
    "/boot/config-*, /usr/lib/modules/*/config, /proc/config.gz",
    "The kernel config, for `__kconfig`.",
)
_PINS = Item("/sys/fs/bpf", "Where maps with LIBBPF_PIN_BY_NAME are pinned.")
_TRACE = Item("/sys/kernel/tracing/trace_pipe", "The output of loaders generated with --debug.")
_TRACEFS = Item("/sys/kernel/tracing/events", "Tracepoint definitions.")
_LOCKDOWN = Item("/sys/kernel/security/lockdown", "The lockdown mode of the kernel.")
FILES: Mapping[str, tuple[Item, ...]] = {
    "doctor": (_BTF, _CONFIG, _PINS, _TRACEFS, _LOCKDOWN),
    "load": (_BTF, _CONFIG, _PINS, _TRACE),
    "run": (_BTF, _CONFIG, _PINS, _TRACE, _TRACEFS),
}
# Pages of other projects.
SEE_ALSO: Mapping[str, tuple[str, ...]] = {
    "": ("bpftool(8)", "clang(1)", "bpf(2)"),
    "gen": ("bpftool-gen(8)", "clang(1)"),
    "load": ("bpftool-prog(8)", "bpf(2)", "capabilities(7)"),
    "run": ("bpftool-prog(8)", "bpf(2)", "capabilities(7)"),
    "trace": ("strace(1)", "bpf(2)"),
    "diff": ("diff(1)", "bpftool-gen(8)"),
    "inspect": ("readelf(1)", "bpftool-btf(8)"),
    "verifier-log": ("bpftool-prog(8)",),
    "doctor": ("bpftool-feature(8)", "capabilities(7)", "kernel_lockdown(7)"),
    "completion": ("bash(1)", "zsh(1)", "fish(1)"),
    "disasm": ("llvm-objdump(1)", "bpftool-prog(8)"),
}


def escaped(text: str) -> str:
    """Text escaped for roff; `backticks` become bold."""
    text, count = re.subn(r"`([^`]+)`", "\0B\\1\0R", text)
    text = "".join(_ESCAPES.get(c, c) for c in text)
    return text.replace("\0", "\\f") if count else text


def line(text: str) -> str:
    """A line of text that roff does not parse as a request."""
    return rf"\&{text}" if text.startswith((".", "'")) else text


def prose(text: str) -> Iterator[str]:
    """Text in wrapped lines; roff fills them."""
    rows = wrap(escaped(text), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return map(line, rows)


def section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """A section, unless empty."""
    content = list(lines)
    if content:
        yield f".SH {title}"
        yield from content


def items(entries: Iterable[Item]) -> Iterator[str]:
    """A list with bold terms."""
    for entry in entries:
        yield ".TP"
        yield f".B {escaped(entry.term)}"
        yield from prose(entry.text)


class Help(NamedTuple):
    """The help of a command: paragraphs, and the lines of its example."""

    paragraphs: tuple[str, ...]
    example: tuple[str, ...]


def parsed(text: str) -> Help:
    """The parts of a docstring; click marks paragraphs with fixed line breaks with \\b."""
    paragraphs, example = [], []
    for block in cleandoc(text).split("\n\n"):
        if block.startswith("\b\nExample:"):
            example = [row.strip() for row in block.splitlines()[2:]]
        else:
            paragraphs.append(" ".join(block.replace("\b", "").split()))
    return Help(tuple(paragraphs), tuple(example))


def options(ctx: click.Context) -> Iterator[str]:
    """The list of options, with values in italics."""
    for parameter in ctx.command.get_params(ctx):
        record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
        if not isinstance(parameter, click.Option) or record is None:
            continue
        yield ".TP"
        names = [*parameter.opts, *parameter.secondary_opts]
        value = "" if parameter.is_flag else parameter.make_metavar(ctx)
        text = ", ".join(rf"\fB{escaped(name)}\fR" for name in sorted(names, key=len))
        yield text + (rf" \fI{escaped(value)}\fR" if value else "")
        yield from prose(" ".join(record[1].split()))


def synopsis(ctx: click.Context, name: str) -> str:
    """The command with its options and arguments."""
    words = ctx.command.collect_usage_pieces(ctx)
    rest = " ".join(rf"\fI{escaped(word)}\fR" for word in words)
    return rf"\fB{escaped(name)}\fR {rest}"


def page(name: str, summary: str) -> str:
    """The manual page of a command; of lskel itself if the name is empty."""
    command = cli.get_command(click.Context(cli), name) if name else cli
    assert command is not None and command.help is not None
    words = f"lskel {name}".strip()
    ctx = click.Context(command, info_name=words, help_option_names=["-h", "--help"])
    said = parsed(command.help)
    see = [f"lskel-{other}(1)" for other in COMMANDS if other != name]
    see += [*(["lskel(1)"] if name else []), *SEE_ALSO.get(name, ())]
    title = words.replace(" ", "-")
    lines = [
        r".\" Generated by scripts/gen_man.py from the help of the command.",
        f'.TH {escaped(title.upper())} 1 {DATE} "lskel {__version__}" "User Commands"',
        *section("NAME", [rf"{escaped(title)} \- {escaped(uncapitalized(summary))}"]),
        *section("SYNOPSIS", [synopsis(ctx, words)]),
        *section("DESCRIPTION", paragraphs(said.paragraphs)),
        *section("OPTIONS", options(ctx)),
    ]
    if not name:
        pages = (
            Item(f"lskel {other}", f"{text} See lskel-{other}(1).")
            for other, text in COMMANDS.items()
        )
        lines += section("COMMANDS", items(pages))
    lines += section(
        "EXIT STATUS", items(Item(str(int(s)), text) for s, text in meanings(name).items())
    )
    lines += section("ENVIRONMENT", items(ENVIRONMENT))
    lines += section("FILES", items(FILES.get(name, ())))
    if said.example:
        shown = (line(escaped(row)) for row in said.example)
        lines += section("EXAMPLES", [".EX", *shown, ".EE"])
    lines += section("SEE ALSO", references(see))
    return "\n".join(lines) + "\n"


def uncapitalized(text: str) -> str:
    """A sentence for the NAME section: without capital and full stop."""
    return text[0].lower() + text[1:].rstrip(".")


def paragraphs(texts: Iterable[str]) -> Iterator[str]:
    """Paragraphs; the first follows the section title."""
    for number, text in enumerate(texts):
        if number:
            yield ".PP"
        yield from prose(text)


def references(pages: Iterable[str]) -> Iterator[str]:
    """Names of pages in bold, separated by commas."""
    names = list(pages)
    for number, name in enumerate(names):
        bare, _, number_of = name.partition("(")
        comma = "," if number + 1 < len(names) else ""
        yield f".BR {escaped(bare)} ({number_of}{comma}"


def main() -> int:
    """The command line."""
    pages = {"lskel.1": page("", "light skeletons for eBPF")}
    pages |= {f"lskel-{name}.1": page(name, text) for name, text in COMMANDS.items()}
    if sys.argv[1:] == ["--check"]:
        there = {path.name: path.read_text() for path in TARGET.glob("*.1")}
        stale = sorted(n for n in pages.keys() | there.keys() if pages.get(n) != there.get(n))
        if stale:
            print(f"out of date: {', '.join(stale)} (python scripts/gen_man.py)")
        return 1 if stale else 0
    TARGET.mkdir(parents=True, exist_ok=True)
    for path in TARGET.glob("*.1"):
        path.unlink()
    for name, text in pages.items():
        (TARGET / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
