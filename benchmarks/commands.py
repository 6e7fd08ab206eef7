"""Whole processes: one object, the whole corpus, the help."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.measure import Job, alternate, figure, ratio, seconds
from benchmarks.report import table
from tests import corpus
from tests.selftests.reference import PATH

LSKEL = str(Path(sys.executable).with_name("lskel"))
SIZE = 6 << 10

# A failing bpftool leaves a partial header.
_EACH_BY_BPFTOOL = """
for object in "$@"; do
    header="$0/${object##*/}.h"
    bpftool gen skeleton -L "$object" name x > "$header" || rm -f "$header"
done
"""


def one_object(scratch: Path, rounds: int) -> Iterator[str]:
    """`lskel gen` of an object of about 6 kB, compared with bpftool and the start of Python."""
    source = _of_size(SIZE, scratch)
    bundle, header = scratch / "x.lskel", scratch / "x.lskel.h"
    measured = alternate(
        {
            "python": _process([sys.executable, "-c", "pass"]),
            "help": _process([LSKEL, "--help"]),
            "gen": _process([LSKEL, "gen", str(source), "-o", str(bundle)]),
            "bpftool": _process(
                ["bpftool", "gen", "skeleton", "-L", str(source), "name", "x"], header
            ),
        },
        rounds,
    )
    names = {
        "python": "`python -c pass`: the floor",
        "help": "`lskel --help`",
        "gen": "`lskel gen`",
        "bpftool": "`bpftool gen skeleton -L`",
    }
    yield "## One object, whole process"
    yield ""
    yield (
        f"{source.name} of the selftests, {source.stat().st_size} bytes without DWARF. "
        f"{rounds} rounds."
    )
    yield ""
    yield from table(
        ("process", "median (quartiles)", "to bpftool", "to the floor"),
        [
            (
                names[name],
                figure(taken).text(),
                f"{ratio(taken, measured['bpftool']):.2f}",
                f"{ratio(taken, measured['python']):.2f}",
            )
            for name, taken in measured.items()
        ],
    )


def whole_corpus(scratch: Path, rounds: int) -> Iterator[str]:
    """All objects by one lskel command, in comparison with one bpftool process per object."""
    paths = [str(path) for path in corpus.objects()]
    bundles, headers = scratch / "bundles", scratch / "headers"
    headers.mkdir()
    measured = alternate(
        {
            "lskel": _process([LSKEL, "gen", *paths, "-o", f"{bundles}/"], check=False),
            "bpftool": _process(["sh", "-c", _EACH_BY_BPFTOOL, str(headers), *paths], check=False),
        },
        rounds,
    )
    made = len(list(bundles.iterdir()))
    made_by_bpftool = sum(path.stat().st_size > 0 for path in headers.iterdir())
    yield "## The whole corpus"
    yield ""
    yield (
        f"All {len(paths)} objects of the selftests, with DWARF, including those for which "
        f"generating fails. {rounds} rounds."
    )
    yield ""
    yield from table(
        ("how", "generated", "time to bpftool's", "median (quartiles)"),
        [
            (
                "`lskel gen`, which uses all CPUs",
                str(made),
                f"{ratio(measured['lskel'], measured['bpftool']):.2f}",
                figure(measured["lskel"]).text("s"),
            ),
            (
                "`bpftool gen skeleton -L`, one process per object",
                str(made_by_bpftool),
                "1",
                figure(measured["bpftool"]).text("s"),
            ),
        ],
    )


def _of_size(size: int, scratch: Path) -> Path:
    """The object that both can generate whose size without DWARF is nearest to `size`."""
    stripped = scratch / "stripped"
    stripped.mkdir()
    # DWARF is more than half of each object, so much larger objects need not be tried.
    sources = [
        product.source
        for product in corpus.light_skeletons()
        if product.ok and size <= product.source.stat().st_size <= 8 * size
    ]
    for source in sources:
        command = ["llvm-strip-19", "-g", str(source), "-o", str(stripped / source.name)]
        subprocess.run(command, check=True)
    command = [LSKEL, "gen", *map(str, sorted(stripped.iterdir())), "-o", f"{scratch}/tried/"]
    subprocess.run(command, check=False, capture_output=True)
    return min(
        (path for path in stripped.iterdir() if (scratch / f"tried/{path.stem}.lskel").exists()),
        key=lambda path: (abs(path.stat().st_size - size), path.name),
    )


def _process(command: Sequence[str], output: Path | None = None, *, check: bool = True) -> Job:
    # An installed package has bytecode: the warm-up round writes it.
    env = {**os.environ, "PATH": PATH}
    env.pop("PYTHONDONTWRITEBYTECODE", None)

    def run() -> None:
        with (output or Path("/dev/null")).open("wb") as out:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.DEVNULL,
                check=check,
                env=env,
            )

    return lambda: seconds(run)
