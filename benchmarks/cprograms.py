"""Build and run the C programs that load objects, and parse what they measured.

c/libbpf.c loads by libbpf, c/loader.c runs any loader program, and c/calls.c makes the calls of a
table loader itself, to measure the kernel's time for them. c/process.c measures other programs.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lskel.errors import LskelError
from lskel.loader.blob import RegionKind
from lskel.loader.model import Loader
from lskel.loader.records import SIZE as RECORD_SIZE

SOURCES = Path(__file__).with_name("c")
_FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE")

# Seconds by stage.
Sample = Mapping[str, float]


class Failed(LskelError):
    """A program could not load the object."""


class Run(NamedTuple):
    """The measurements of a process: its first round, the others, and other facts."""

    first: Sample
    others: tuple[Sample, ...]
    facts: Mapping[str, int]


class LoaderProgram(NamedTuple):
    """A loader program, of lskel or bpftool."""

    insns: bytes
    blob: bytes
    context_size: int
    btf: bytes = b""
    func_info: bytes = b""


class Command(NamedTuple):
    """A command that takes the number of rounds as its first argument."""

    program: Path
    arguments: tuple[str, ...]

    def run(self, rounds: int) -> Run:
        """Run it; Failed, with its last line, if it fails."""
        done = subprocess.run(
            [str(self.program), str(rounds), *self.arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise Failed(said[-1].partition(": ")[2] if said else f"status {done.returncode}")
        head, *lines = done.stdout.splitlines()
        samples = [
            {name: int(ns) / 1e9 for name, ns in zip(head.split(), line.split(), strict=True)}
            for line in lines
            if line[0].isdigit()
        ]
        facts = dict(line.split() for line in lines if line[0].isalpha())
        return Run(samples[0], tuple(samples[1:]), {k: int(v) for k, v in facts.items()})


class Process(NamedTuple):
    """Time and memory of a whole process."""

    seconds: float
    kilobytes: int


class Programs:
    """The programs, built in a directory that also has the files of loaders."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self._files = 0
        for name in ("libbpf", "loader", "calls", "process"):
            source, target = SOURCES / f"{name}.c", scratch / name
            subprocess.run(["gcc", *_FLAGS, source, "-o", target, "-lbpf"], check=True)

    def libbpf(self, path: Path) -> Command:
        """Open, load and close an object by libbpf."""
        return Command(self.scratch / "libbpf", (str(path),))

    def loader(self, loader: LoaderProgram) -> Command:
        """Run a loader program."""
        btf = (loader.btf, loader.func_info) if loader.btf else ()
        files = (self._file(part) for part in (loader.insns, loader.blob, *btf))
        return Command(self.scratch / "loader", (str(loader.context_size), *files))

    def calls(self, table: Loader) -> Command:
        """Make the calls of a table loader."""
        context, _ = _extent(table, RegionKind.CONTEXT)
        records, records_size = _extent(table, RegionKind.RECORDS)
        numbers = (context, table.context_size, records, records_size // RECORD_SIZE)
        return Command(self.scratch / "calls", (self._file(table.blob), *map(str, numbers)))

    def process(self, command: Sequence[str]) -> Process:
        """Run a command; CalledProcessError if it fails."""
        # An installed package has bytecode: the warm-up round writes it.
        env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        words = [str(self.scratch / "process"), *command]
        done = subprocess.run(words, stdout=subprocess.PIPE, check=True, env=env)
        ns, kilobytes = done.stdout.split()
        return Process(int(ns) / 1e9, int(kilobytes))

    def _file(self, content: bytes) -> str:
        self._files += 1
        path = self.scratch / f"{self._files}.bin"
        path.write_bytes(content)
        return str(path)


def _extent(loader: Loader, kind: RegionKind) -> tuple[int, int]:
    """Offset and size of all regions of a kind, which are adjacent."""
    regions = [region for region in loader.regions if region.kind is kind and region.size]
    start = min((region.offset for region in regions), default=0)
    return start, max((region.offset + region.size for region in regions), default=0) - start
