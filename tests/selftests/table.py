"""Writes docs/selftests.md: what becomes of each object of the corpus.

    python -m tests.selftests.table > docs/selftests.md

Loads every object in three ways, by libbpf directly, by bpftool's loader and by lskel's: minutes,
as root. `--no-load` leaves that part out.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import lskel
from lskel.bpf import context
from lskel.describe.labels import label
from lskel.loader.header import parse_header
from lskel.loader.model import Loader
from lskel.runtime.loader import run_loader
from lskel.runtime.objects import Fd
from lskel.runtime.permissions import read_situation
from lskel.runtime.syscall import BpfError, errno_name
from tests import bpftool, corpus
from tests.corpus import Corpus
from tests.loads import load_by_loader
from tests.selftests import test_libbpf
from tests.selftests.reference import tool
from tests.selftests.test_generate import outcome
from tests.selftests.test_load import failure
from tests.selftests.types import typed

_WIDTH = 110


class Load(NamedTuple):
    """What a loader did in the running kernel; `error` is empty where everything loaded."""

    error: str
    errno: str


_LOADED = Load("", "")


class Outcome(NamedTuple):
    """An object, and how far each generator gets with it; None for a load that was not tried."""

    path: Path
    bpftool: corpus.Product
    error: str  # lskel's; empty where it generates a loader
    by_libbpf: Load | None
    by_bpftool: Load | None
    by_lskel: Load | None


def outcomes(of: Corpus, *, loads: bool) -> Iterator[Outcome]:
    """All objects of the corpus, in order of name."""
    for product in corpus.light_skeletons(of):
        path = product.source
        error = outcome(path)
        by_libbpf = by_bpftool = by_lskel = None
        if loads:
            by_libbpf = Load(test_libbpf.by_libbpf(path), "")
            by_bpftool = _load_by_bpftool(product.path.read_text()) if product.ok else None
            by_lskel = None if error else _load_by_lskel(lskel.generate(typed(path)))
        yield Outcome(path, product, error, by_libbpf, by_bpftool, by_lskel)


def _load_by_bpftool(header: str) -> Load:
    skeleton = parse_header(header)
    ctx = bytearray(skeleton.context_size)
    ctx[0:4] = len(ctx).to_bytes(4, sys.byteorder)
    try:
        value = run_loader(skeleton.insns, skeleton.blob, ctx).value
    except BpfError as error:
        return Load("the kernel refuses the loader program", errno_name(error.errno))
    if value:
        return Load("error", errno_name(-value))
    maps = len(skeleton.maps)
    for slot in range(maps):
        _close(ctx, context.map_fd(slot))
    for slot in range(len(skeleton.programs)):
        _close(ctx, context.program_fd(maps, slot))
    return _LOADED


def _close(ctx: bytearray, offset: int) -> None:
    # 0 stands for a program that is not loaded by itself.
    if number := int.from_bytes(ctx[offset : offset + 4], sys.byteorder):
        Fd(number).close()


def _load_by_lskel(loader: Loader) -> Load:
    try:
        failed = failure(load_by_loader, loader)
    except lskel.LskelError as error:  # it needs a target
        return Load(str(error), "not tried")
    if failed is None:
        return _LOADED
    if isinstance(failed, str):
        return Load(failed, "not tried")
    op, number = failed
    what = "the loader program" if op is None else str(label(loader.trace, loader.trace.ops[op]))
    return Load(what, errno_name(number))


def document(*, loads: bool) -> Iterator[str]:
    """The lines of docs/selftests.md."""
    yield "# The kernel selftests"
    yield ""
    yield "Written by `python -m tests.selftests.table > docs/selftests.md`; not edited by hand."
    yield ""
    yield (
        "A corpus is `tools/testing/selftests/bpf/progs` of a Linux series, compiled by "
        "[tests/corpus.py](../tests/corpus.py), and the objects that its Makefile links from "
        "several (`_linked`). `bpftool -L` is `bpftool gen skeleton -L`, the reference generator."
    )
    yield ""
    yield from _table(("what", "version"), _versions())
    yield ""
    heads = ("corpus", "source", "clang", "cpu", "sources", "compile")
    yield from _table(heads, map(_corpus, corpus.CORPORA))
    for each in corpus.CORPORA:
        found = list(outcomes(each, loads=loads))
        yield ""
        yield f"## Selftests of Linux {each}: generating"
        yield ""
        yield from _generated(found)
        if loads:
            yield ""
            yield f"## Selftests of Linux {each}: loading"
            yield ""
            yield from _loaded(found)


def _corpus(of: Corpus) -> tuple[str, ...]:
    products = corpus.compilations(of)
    compiled = sum(product.ok for product in products)
    clang = _number(tool(of.clang, "--version"))
    return str(of), of.package, clang, of.cpu, str(len(products)), str(compiled)


def _versions() -> Iterator[tuple[str, str]]:
    version = bpftool.run("version")
    library = re.search(r"libbpf v?([\d.]+)", version)
    yield "bpftool", _number(version) + (f", libbpf {library[1]}" if library else "")
    lockdown = read_situation().lockdown
    yield (
        "kernel",
        f"Linux {_number(os.uname().release)} {os.uname().machine}"
        + (f", locked down ({lockdown})" if lockdown not in (None, "none") else ""),
    )
    yield "lskel", lskel.__version__


def _number(text: str) -> str:
    match = re.search(r"\d+(\.\d+)+", text)
    return match.group() if match else "unknown"


def _generated(found: Sequence[Outcome]) -> Iterator[str]:
    counts = Counter((o.bpftool.ok, not o.error) for o in found)
    rows = [
        (
            str(len(found)),
            *(str(counts[key]) for key in ((True, True), (False, True), (True, False))),
            str(counts[False, False]),
        )
    ]
    heads = ("objects", "by both", "by lskel only", "by bpftool -L only", "by neither")
    yield from _table(heads, rows)
    yield ""
    yield (
        "All objects that at least one of them refuses. Those that lskel refuses must be linked "
        "with others first, or are invalid on purpose. Programs whose section name has no type got "
        "one as by `--type` (tests/selftests/types.py)."
    )
    yield ""
    yield from _table(
        ("object", "bpftool -L", "lskel"),
        [
            (o.path.stem, _bpftool(o.bpftool), _shown(o.error) or "yes")
            for o in found
            if o.error or not o.bpftool.ok
        ],
    )


def _bpftool(product: corpus.Product) -> str:
    if product.ok:
        return "yes"
    if product.crashed:
        return f"crash ({product.reason})"
    reason = product.reason.removeprefix("libbpf: ")
    return f"no: {_shown(reason)}" if reason else "no"


def _loaded(found: Sequence[Outcome]) -> Iterator[str]:
    theirs = [o for o in found if o.by_bpftool is not None]
    ours = [o for o in found if o.by_lskel is not None]
    both = [o for o in ours if o.by_bpftool is not None]
    yield (
        "Each loader that was generated, run in the kernel named above. No kernel loads every "
        "object: this depends on its configuration, and many selftests are meant to be rejected."
    )
    yield ""
    yield from _table(
        ("", "run", "everything loads"),
        [
            ("libbpf, directly", str(len(found)), _count(found, "by_libbpf")),
            ("bpftool -L", str(len(theirs)), str(sum(o.by_bpftool == _LOADED for o in theirs))),
            ("lskel", str(len(ours)), str(sum(o.by_lskel == _LOADED for o in ours))),
            (
                "bpftool -L, of the objects that lskel generates",
                str(len(both)),
                _count(both, "by_bpftool"),
            ),
            (
                "lskel, of the objects that bpftool -L generates",
                str(len(both)),
                _count(both, "by_lskel"),
            ),
        ],
    )
    yield ""
    errors = Counter(o.by_lskel.errno for o in ours if o.by_lskel and o.by_lskel.error)
    yield "Errors of lskel's loaders that do not load everything: " + (
        ", ".join(f"{name} {n}" for name, n in errors.most_common()) + "."
    )
    yield ""
    differ = [o for o in both if (o.by_lskel == _LOADED) != (o.by_bpftool == _LOADED)]
    if differ:
        yield "Objects that only one of the two loads:"
        yield ""
        yield from _table(
            ("object", "bpftool -L", "lskel"),
            [(o.path.stem, _result(o.by_bpftool), _result(o.by_lskel)) for o in differ],
        )
    else:
        yield "Objects that only one of the two loads: none."
    missed = [o for o in found if o.by_libbpf == _LOADED != o.by_lskel]
    yield ""
    yield (
        "Objects that libbpf loads directly and lskel's loader does not: "
        + (", ".join(f"{o.path.stem} ({_result(o.by_lskel)})" for o in missed) or "none")
        + "."
    )
    alone = [o for o in ours if o.by_bpftool is None]
    if alone:
        yield ""
        yield "Objects that only lskel generates a loader for:"
        yield ""
        yield from _table(("object", "lskel"), [(o.path.stem, _result(o.by_lskel)) for o in alone])


def _count(found: Iterable[Outcome], field: str) -> str:
    return str(sum(getattr(o, field) == _LOADED for o in found))


def _result(load: Load | None) -> str:
    if load is None:
        return "-"
    return "loads" if load == _LOADED else f"{load.errno}: {_shown(load.error)}"


def _shown(text: str) -> str:
    """One table cell: short, and without what Markdown takes for its own."""
    # An object's name and the hint in brackets add nothing here.
    text = re.sub(r" \([^()]*(\([^()]*\)[^()]*)*\)$", "", text)
    if len(text) > _WIDTH:
        text = text[: _WIDTH - 3].rstrip() + "..."
    return re.sub(r"([|<>*\\`])", r"\\\1", text)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join('---' for _ in heads)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    print("\n".join(document(loads="--no-load" not in sys.argv[1:])))
