"""One input and one command, made from a number: damaged, run in this process, and judged."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import TracebackType
from typing import NamedTuple

from lskel.cli import main
from tests.cli.in_process import captured
from tests.fuzz.bundle import damaged_bundle
from tests.fuzz.commands import COMMANDS, INPUT, OTHER, OUTPUT
from tests.fuzz.elf import damaged_elf
from tests.fuzz.names import NAMES
from tests.fuzz.outputs import json_text, unprintable
from tests.fuzz.seeds import Kind, seeds
from tests.fuzz.text import damaged_text
from tests.fuzz.watch import Caught, Watch

_DAMAGE = {
    Kind.OBJECT: damaged_elf,
    Kind.BUNDLE: damaged_bundle,
    Kind.HEADER: damaged_text,
    Kind.LOG: damaged_text,
}
_SUFFIX = {Kind.OBJECT: ".bpf.o", Kind.BUNDLE: ".lskel", Kind.HEADER: ".h", Kind.LOG: ".log"}
# Names that a file can have.
_FILE_NAMES = [
    os.fsdecode(n) for n in NAMES if n.strip(b".") and not {*b"/\0"} & {*n} and len(n) < 200
]
_SOURCE = str(Path(sys.modules["lskel"].__file__ or "").parent)


class Pair(NamedTuple):
    """What a command is run with: its words, and the files that they name."""

    command: str
    words: tuple[str, ...]
    files: dict[str, bytes]
    seed: str = ""
    original: bytes = b""  # of the first file, before it was damaged


class Verdict(NamedTuple):
    """How a command ended: its exit status, and what is wrong with that; empty where nothing is.

    `detail` is the traceback, or else what the command said on standard error.
    """

    status: int
    wrong: str
    detail: str = ""


def make(number: int, command: str | None = None) -> Pair:
    """The pair of a number; of a command, if that is given, else it may be any."""
    if command is None:
        weights = [command.weight for command in COMMANDS.values()]
        (command,) = Random(number).choices(list(COMMANDS), weights)
    rng = Random(f"{number} {command}")
    kinds = COMMANDS[command].kinds
    (kind,) = rng.choices(list(kinds), list(kinds.values()))
    pool = seeds()[kind] if seeds()[kind].seeds else seeds()[Kind.OBJECT]
    seed, other = pool.choose(rng), pool.choose(rng)
    data = _DAMAGE[kind](rng, seed.read(), other.read())
    name = "in" + _SUFFIX[kind]
    if rng.random() < 0.05:
        name = rng.choice(_FILE_NAMES) + rng.choice((_SUFFIX[kind], ""))
    options = [o for o in COMMANDS[command].options if rng.random() < 0.15]
    if COMMANDS[command].words[:1] == ("verifier-log",):
        other = seeds()[Kind.LOG].choose(rng)
    pair = of_input(command, data, name, other.read(), options)
    return pair._replace(seed=seed.name, original=seed.read())


def of_input(
    command: str, data: bytes, name: str, other: bytes, options: Iterable[tuple[str, ...]] = ()
) -> Pair:
    """The pair of an input and a command; `other` is what it is compared with, or a log of it."""
    how = COMMANDS[command]
    paths = {INPUT: f"./{name}", OTHER: "./other", OUTPUT: how.output}
    words = [paths.get(word, word) for word in how.words]
    words += [word for option in options for word in option]
    files = {name: data, "other": other} if OTHER in how.words else {name: data}
    return Pair(command, tuple(words), files)


@contextmanager
def placed(pair: Pair) -> Iterator[None]:
    """The pair's files in this directory, which is empty before and after."""
    for name, data in pair.files.items():
        Path(name).write_bytes(data)
    try:
        yield
    finally:
        for path in Path().iterdir():
            path.unlink()


def run(pair: Pair, watch: Watch) -> Verdict:
    """Run a pair in the directory of the watch."""
    watch.seen.clear()
    status, wrong, detail = -1, "", ""
    with placed(pair), captured() as (out, err):
        try:
            with watch.limited(), watch.watching():
                status = main(list(pair.words))
                sys.stdout.flush()
                sys.stderr.flush()
            with watch.limited(memory=False):  # looking for what is wrong takes more than the work
                wrong = _ended(pair, status, out.getvalue(), err.getvalue(), watch)
        except BaseException as error:  # noqa: BLE001
            place = str(error) if isinstance(error, Caught) else _place(error.__traceback__)
            wrong = f"{type(error).__name__}: {place}"
            detail = "".join(traceback.format_exception(error))[-4000:]
        # Something may have taken what the hook raised.
        wrong = wrong or next(iter(watch.seen), "")
        return Verdict(status, wrong, detail or err.getvalue().decode("utf-8", "replace")[:1000])


def _ended(pair: Pair, status: int, out: bytes, err: bytes, watch: Watch) -> str:
    """What is wrong with how a command ended, and with what it wrote."""
    how = COMMANDS[pair.command]
    said = err.decode()
    lines = said.splitlines()
    errors = [line for line in lines if not line.startswith("lskel: warning: ")]
    if status not in (0, *how.fails, *how.errors):
        return f"exit status {status}"
    if wrong := unprintable(said):
        return f"{wrong} in an error"
    if "internal error" in said or "Traceback" in said:
        return f"internal error: {said[-200:]}"
    if any(text in said for text in ("MemoryError", "of memory", "enough memory")):
        return "more memory than an input may take"
    if len(errors) > 1 or not all(line.startswith("lskel: ") for line in lines):
        return "an error that is not one line"
    if status == 0 and errors:
        return "an error, and exit status 0"
    if status and not lines and status not in how.fails:
        return "no error, and another exit status than 0"
    left = {path.name for path in Path().iterdir()} - {*pair.files, how.output}
    if left:
        return f"files that were not asked for: {sorted(left)}"
    check = json_text if "--json" in pair.words and out else how.printed
    if status in (0, *how.fails) and (wrong := check(out, watch)):
        return wrong
    if how.written is None:
        return ""
    if not Path(how.output).exists():
        return "" if status else "nothing is written"
    return (
        "an error, though it is written"
        if status
        else how.written(Path(how.output).read_bytes(), watch)
    )


def _place(trace: TracebackType | None) -> str:
    """Where in lskel, or else in the tests, an exception came from."""
    frames = traceback.extract_tb(trace)
    ours = [f for f in frames if f.filename.startswith(_SOURCE)] or frames[-1:]
    last = ours[-1]
    return f"{Path(last.filename).name}:{last.name}:{last.lineno}"
