"""Load the same object in each way; sizes of the loader programs."""

from __future__ import annotations

import resource
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import lskel
from benchmarks.cprograms import Command, LoaderProgram, Programs, Run, Sample
from benchmarks.measure import Figure, alternate, figure, ratio, rounded, seconds
from benchmarks.objects import COUNTS, KINDS, generated, real
from benchmarks.report import plot, table
from lskel.errors import LskelError
from lskel.loader.header import parse_header
from lskel.loader.model import Form, Loader
from tests.selftests.reference import PATH

# Seconds that a process repeats a load for, and the minimum and maximum number of rounds.
_BUDGET = 0.03
_LEAST, _MOST = 3, 20

_STAGES = {"map": "blob map", "btf": "BTF", "load": "PROG_LOAD", "run": "run", "close": "close"}
_LOADERS = ("bpftool", "unrolled", "table")
_WAYS = ("libbpf", *_LOADERS, "calls")


class Measured(NamedTuple):
    """One object: the times of each way, or why it failed; the loader programs."""

    runs: Mapping[str, Sequence[Run]]
    failures: Mapping[str, str]
    programs: Mapping[str, LoaderProgram]

    def totals(self, way: str) -> list[float]:
        """Seconds from nothing loaded to everything closed, without first rounds."""
        return [sum(sample.values()) for sample in self.samples(way)]

    def samples(self, way: str) -> list[Sample]:
        """All samples except those of first rounds."""
        return [sample for run in self.runs[way] for sample in run.others]

    def figure(self, way: str) -> Figure | None:
        """The figure of the totals; None if it failed."""
        return figure(self.totals(way)) if way in self.runs else None

    def medians(self, way: str) -> list[float]:
        """The median of each process."""
        return [statistics.median(sum(s.values()) for s in run.others) for run in self.runs[way]]

    def ratio(self, of: str, to: str) -> str:
        """The ratio of medians of processes; empty if one failed."""
        if of not in self.runs or to not in self.runs:
            return ""
        return f"{ratio(self.medians(of), self.medians(to)):.2f}"

    def beyond(self) -> str:
        """The time of the table loader minus that of its calls."""
        if "table" not in self.runs or "calls" not in self.runs:
            return ""
        pairs = zip(self.medians("table"), self.medians("calls"), strict=True)
        return f"{statistics.median(a - b for a, b in pairs) * 1e3:.2f} ms"


def loading(scratch: Path, rounds: int) -> Iterator[str]:
    """All objects in all ways."""
    _allow_many_fds()
    programs = Programs(scratch)
    measured = {name: _measure(path, programs, rounds) for name, path in real().items()}
    grown = {
        kind: {n: _measure(generated(kind, n, scratch), programs, rounds) for n in COUNTS}
        for kind in KINDS
    }
    for kind, by_count in grown.items():
        measured |= {f"{n} {kind}": result for n, result in by_count.items()}
    yield from _times(measured, rounds)
    for kind, by_count in grown.items():
        yield ""
        yield from _plots(kind, by_count)
    yield ""
    yield from _loader_programs(measured)
    yield ""
    yield from _python(real(), 5 * rounds)


def _measure(path: Path, programs: Programs, rounds: int) -> Measured:
    commands: dict[str, Command] = {"libbpf": programs.libbpf(path)}
    made: dict[str, LoaderProgram] = {}
    failures: dict[str, str] = {}
    try:
        made["bpftool"] = _by_bpftool(path)
    except LskelError as error:
        failures["bpftool"] = str(error)
    for form in (Form.UNROLLED, Form.TABLE):
        try:
            loader = lskel.generate(lskel.open_object(path), form)
        except LskelError as error:
            failures[form.value] = str(error)
            continue
        made[form.value] = _program(loader)
        if form is Form.TABLE:
            commands["calls"] = programs.calls(loader)
    commands |= {maker: programs.loader(program) for maker, program in made.items()}
    jobs = {}
    for way in _WAYS:
        if way in commands:
            try:
                tried = commands[way].run(_LEAST)
            except LskelError as error:
                failures[way] = str(error)
                continue
            repeat = int(_BUDGET / min(sum(sample.values()) for sample in tried.others))
            jobs[way] = partial(commands[way].run, min(max(repeat, _LEAST), _MOST))
    return Measured(alternate(jobs, rounds), failures, made)


def _times(measured: Mapping[str, Measured], rounds: int) -> Iterator[str]:
    yield "## Loading an object"
    yield ""
    yield (
        "From the object or the loader's parts in memory to everything loaded and closed again, "
        "in C. *libbpf*: opens and loads the object. *bpftool*, *unrolled*, *table*: the same "
        "runner with the loader program of `bpftool gen skeleton -L` and those of lskel. "
        "*Calls*: a C program that makes only the system calls of the loaders; *beyond* is the "
        f"time of the table loader minus that. {rounds} processes of up to {_MOST} loads each; "
        "a process's first load, with the probes of libbpf, is in the second table."
    )
    yield ""
    rows = [
        (
            name,
            *(result.ratio("table", way) for way in ("unrolled", "bpftool", "libbpf")),
            result.beyond(),
            *(_cell(result, way) for way in _WAYS),
        )
        for name, result in measured.items()
    ]
    heads = ("object", "table to unrolled", "to bpftool", "to libbpf", "beyond", *_WAYS)
    yield from table(heads, rows)
    yield ""
    yield from table(
        ("first load of a process", "table to libbpf", *_WAYS),
        [(name, *_first(result)) for name, result in measured.items()],
    )
    yield ""
    reasons: dict[str, list[str]] = {}
    for name, result in measured.items():
        for way, reason in result.failures.items():
            reasons.setdefault(f"{way}: {reason}", []).append(name)
    yield "Failed:"
    yield ""
    for reason, names in reasons.items():
        yield f"- {', '.join(names)}: {reason}"


def _cell(result: Measured, way: str) -> str:
    found = result.figure(way)
    return found.text() if found else "fails"


def _first(result: Measured) -> list[str]:
    medians = {
        way: statistics.median(sum(run.first.values()) for run in runs)
        for way, runs in result.runs.items()
    }
    to_libbpf = (
        f"{medians['table'] / medians['libbpf']:.2f}" if {"table", "libbpf"} <= set(medians) else ""
    )
    return [
        to_libbpf,
        *(f"{rounded(medians[w] * 1e3)} ms" if w in medians else "fails" for w in _WAYS),
    ]


def _plots(kind: str, by_count: Mapping[int, Measured]) -> Iterator[str]:
    name = kind.replace(" ", "-")
    yield plot(
        f"time-{name}",
        f"Load time by number of {kind}",
        kind,
        "ms",
        {
            way: [
                (count, found.median * 1e3)
                for count, result in by_count.items()
                if (found := result.figure(way))
            ]
            for way in _WAYS
        },
    )
    yield plot(
        f"instructions-{name}",
        f"Loader instructions by number of {kind}",
        kind,
        "instructions",
        {
            maker: [
                (count, len(result.programs[maker].insns) // 8)
                for count, result in by_count.items()
                if maker in result.programs
            ]
            for maker in _LOADERS
        },
    )


def _loader_programs(measured: Mapping[str, Measured]) -> Iterator[str]:
    yield "## Loader programs"
    yield ""
    yield (
        "*Verified* is the number of instructions that the verifier processed. The next columns "
        "are the stages of the runner, medians in ms; *PROG_LOAD* loads the loader program."
    )
    yield ""
    rows = []
    for name, result in measured.items():
        for maker, program in result.programs.items():
            sizes = (str(len(program.insns) // 8), str(len(program.blob)))
            if maker not in result.runs:
                rows.append((name, maker, *sizes, *[""] * (1 + len(_STAGES))))
                continue
            samples = result.samples(maker)
            medians = (statistics.median(s[stage] for s in samples) * 1e3 for stage in _STAGES)
            verified = str(result.runs[maker][0].facts["verified"])
            rows.append((name, maker, *sizes, verified, *(f"{ms:.3f}" for ms in medians)))
    heads = ("object", "loader", "instructions", "blob bytes", "verified", *_STAGES.values())
    yield from table(heads, rows)


def _python(paths: Mapping[str, Path], rounds: int) -> Iterator[str]:
    yield "## Loading from Python"
    yield ""
    yield (
        "The same by `lskel.load`, in one process: the loaders, and *direct*, one system call per "
        f"operation. {rounds} rounds."
    )
    yield ""
    rows = []
    for name, path in paths.items():
        loaders = {form.value: lskel.generate(lskel.open_object(path), form) for form in Form}
        jobs = {form: partial(_seconds, loader) for form, loader in loaders.items()}
        jobs["direct"] = partial(_seconds, loaders[Form.TABLE.value], direct=True)
        try:
            taken = alternate(jobs, rounds)
        except LskelError:
            continue
        rows.append(
            (
                name,
                f"{ratio(taken['table'], taken['unrolled']):.2f}",
                f"{ratio(taken['table'], taken['direct']):.2f}",
                *(figure(taken[way]).text() for way in ("table", "unrolled", "direct")),
            )
        )
    heads = ("object", "table to unrolled", "to direct", "table", "unrolled", "direct")
    yield from table(heads, rows)


def _seconds(loader: Loader, *, direct: bool = False) -> float:
    return seconds(lambda: lskel.load(loader, direct=direct).load().close())


def _program(loader: Loader) -> LoaderProgram:
    return LoaderProgram(
        loader.insns, loader.blob, loader.context_size, loader.btf, loader.func_info
    )


def _by_bpftool(path: Path) -> LoaderProgram:
    command = ["bpftool", "gen", "skeleton", "-L", str(path), "name", "x"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={"PATH": PATH})
    if done.returncode:
        raise lskel.LskelError(f"`bpftool gen skeleton -L` ends with status {done.returncode}")
    made = parse_header(done.stdout)
    return LoaderProgram(made.insns, made.blob, made.context_size)


def _allow_many_fds() -> None:
    """Raise the limit to the hard limit: 1000 programs need 1000 fds."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
