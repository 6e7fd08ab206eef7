"""lskel inspect"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import click

from lskel.cli.common import json_option, source_argument
from lskel.cli.generation import Generation, object_options
from lskel.cli.sources import FileKind, default_name, kind_of, open_data, read
from lskel.cli.terminal import is_terminal, line, print_json, table
from lskel.describe.jsonable import jsonable
from lskel.describe.summary import (
    ExternSummary,
    MapSummary,
    MemberSummary,
    ProgramSummary,
    StructOpsSummary,
    Summary,
    summarize,
    summarize_header,
)
from lskel.errors import at, printable
from lskel.loader.model import Bytes, Loader

if TYPE_CHECKING:
    from lskel.replay.simulator.loader_bytes import BareRun


@click.command("inspect")
@source_argument
@object_options
@json_option
def command(source: str, generation: Generation, as_json: bool) -> None:
    """Show the maps, programs, externs, sections and sizes of an object or a bundle.

    It also shows what is resolved on the target machine: kernel symbols and kconfig values
    (externs), and numbers such as struct sizes (inputs). No kernel is accessed. For an object that
    lskel cannot load, each program is shown with the reason. For a bundle whose bytes do not match
    its description, the calls that the bytes make in the simulator are shown; so they are for a
    light skeleton header (`bpftool gen skeleton -L`).

    \b
    Example:
        lskel inspect hello.bpf.o
        lskel inspect hello.lskel --json
    """
    summary, run = _inspected(source, generation)
    if as_json:
        print_json(jsonable(summary) | ({} if run is None else {"calls": run.as_json()}))
        return
    show = _show_rich if is_terminal() else _show_plain
    for fact in _facts(summary):
        line(fact)
    show(shown for shown in _tables(summary) if shown.rows)
    if run is not None:
        line()
        line("Calls of one run in the simulator")
        for call in run.lines(summary.order):
            line(call)
    problems = list(_problems(summary))
    if problems:
        line()
        line("Cannot be loaded")
    for problem in problems:
        line(f"  {problem}")


def _inspected(source: str, generation: Generation) -> tuple[Summary, BareRun | None]:
    """The summary; with a run where the bytes are all that is known."""
    data = read(source)
    if kind_of(data) is FileKind.HEADER:
        from lskel.loader.header import parse_header
        from lskel.replay.simulator.loader_bytes import bare_header_run

        with at(source):
            generation.check_unused(FileKind.HEADER.value)
            skeleton = parse_header(data.decode("utf-8", "replace"))
            name = generation.name or default_name(source)
            return summarize_header(name, skeleton), bare_header_run(name, skeleton)
    opened = open_data(data, source, generation)
    with at(source):
        summary = summarize(opened)
    if isinstance(opened, Loader) and opened.compared is Bytes.DIFFERENT:
        from lskel.replay.simulator.loader_bytes import bare_run

        return summary, bare_run(opened)
    return summary, None


def _facts(summary: Summary) -> Iterator[str]:
    loader = summary.loader
    what = "object"
    if loader is not None:
        what = "bundle" if loader.form else "light skeleton header"
    told = summary.license is not None  # else only the calls are known
    license_ = f", license {summary.license or 'none'}" if told else ""
    yield f"{summary.name}: {what}, {summary.order}-endian{license_}"
    if summary.btf is not None:
        needed = f", needed by {summary.btf.needed_by}" if summary.btf.needed_by else ""
        yield f"BTF: {summary.btf.size} bytes, {summary.btf.types} types{needed}"
    if loader is not None:
        form = f"{loader.form}, " if loader.form else ""
        yield (
            f"loader: {form}{loader.insns} instructions, {loader.blob} bytes of data, "
            f"{loader.context} bytes of context"
        )


def _problems(summary: Summary) -> Iterator[str]:
    if summary.problem:
        yield summary.problem
    yield from (program.problem for program in summary.programs if program.problem)


class _Table(NamedTuple):
    """Columns whose heading begins with `#` hold numbers."""

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]


def _tables(summary: Summary) -> Iterator[_Table]:
    yield _Table(
        "Maps",
        ("name", "type", "key", "value", "#entries", "section", "notes"),
        [
            (
                a_map.name,
                a_map.type,
                f"{a_map.key_size} {a_map.key_type}",
                f"{a_map.value_size} {a_map.value_type}",
                f"{a_map.max_entries}",
                a_map.section,
                ", ".join(_map_notes(a_map)),
            )
            for a_map in summary.maps
        ],
    )
    yield _Table(
        "Variables",
        ("name", "type", "map", "#offset", "#size"),
        [
            (variable.name, variable.type, a_map.name, f"{variable.offset}", f"{variable.size}")
            for a_map in summary.maps
            for variable in a_map.variables
        ],
    )
    yield _Table(
        "Programs",
        ("name", "section", "type", "attach", "#insns", "#func", "#line", "#CO-RE", "notes"),
        [
            (
                program.name,
                program.section,
                program.type,
                program.attach_type,
                "?" if program.insns is None else f"{program.insns}",
                f"{program.func_info}",
                f"{program.line_info}",
                f"{program.core_relos}",
                ", ".join(_program_notes(program)),
            )
            for program in summary.programs
        ],
    )
    yield _Table(
        "Externs",
        ("name", "kind", "type", "programs", "notes"),
        [
            (
                extern.name,
                extern.kind,
                extern.type,
                ", ".join(extern.programs),
                ", ".join(_extern_notes(extern)),
            )
            for extern in summary.externs
        ],
    )
    yield _Table(
        "struct_ops",
        ("map", "struct", "member", "program"),
        [
            (a_map.name, a_map.struct_ops.type, member.name, member.program)
            for a_map in summary.maps
            if a_map.struct_ops is not None
            for member in _with_programs(a_map.struct_ops)
        ],
    )
    yield _Table(
        "Inputs",
        ("#number", "what"),
        [(f"{number}", what) for number, what in enumerate(summary.inputs)],
    )
    yield _Table(
        "Sections",
        ("name", "#bytes"),
        [(section.name, f"{section.size}") for section in summary.sections],
    )
    if summary.loader is not None:
        yield _counts("Data", "#bytes", summary.loader.contents)
        yield _counts("Operations", "#count", summary.loader.ops)


def _counts(title: str, unit: str, counts: dict[str, int]) -> _Table:
    return _Table(title, ("kind", unit), [(kind, f"{count}") for kind, count in counts.items()])


def _map_notes(a_map: MapSummary) -> Iterator[str]:
    if not a_map.autocreate:
        yield "not created by default"
    if a_map.kernel_name != a_map.name:
        yield f"in the kernel {a_map.kernel_name}"
    yield from a_map.flags
    if a_map.frozen:
        yield "frozen"
    if a_map.pinning not in ("", "none"):
        yield f"pinned {a_map.pinning}"
    if a_map.exclusive:
        yield f"for program {a_map.exclusive} only"
    if a_map.map_extra:
        yield f"map_extra {a_map.map_extra:#x}"
    if a_map.inner is not None:
        inner = a_map.inner
        sizes = f"key {inner.key_size}, value {inner.value_size}, entries {inner.max_entries}"
        yield f"of {inner.type} ({sizes})"
    yield from (f"[{slot.key}] = {slot.name}" for slot in a_map.slots)


def _with_programs(struct: StructOpsSummary) -> list[MemberSummary]:
    """The members that point to programs; a struct without any is still shown."""
    return [member for member in struct.members if member.program] or [MemberSummary("", "")]


def _extern_notes(extern: ExternSummary) -> Iterator[str]:
    if extern.weak:
        yield "weak"
    if extern.typeless:
        yield "typeless"


def _program_notes(program: ProgramSummary) -> Iterator[str]:
    if program.sleepable:
        yield "sleepable"
    if not program.autoload:
        yield "autoload disabled"
    if program.subprograms:
        yield f"contains {', '.join(program.subprograms)}"


def _show_plain(tables: Iterable[_Table]) -> None:
    for shown in tables:
        line()
        line(shown.title)
        rows = [tuple(heading.removeprefix("#") for heading in shown.headings)]
        rows += [tuple(map(printable, row)) for row in shown.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (
                cell.rjust(width) if heading.startswith("#") else cell.ljust(width)
                for heading, cell, width in zip(shown.headings, row, widths, strict=True)
            )
            line(f"  {'  '.join(cells)}".rstrip())


def _show_rich(tables: Iterable[_Table]) -> None:
    for shown in tables:
        table(shown.rows, title=shown.title, headings=shown.headings)
