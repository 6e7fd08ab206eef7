"""Workers that run pairs, survive what they run, and report each pair to their parent."""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from shutil import rmtree
from typing import Any

import lskel
from lskel.cli import main
from tests.cli.in_process import captured
from tests.fuzz import pair as pairs
from tests.fuzz.commands import COMMANDS
from tests.fuzz.pair import Pair, Verdict
from tests.fuzz.seeds import ROOT, Kind, worker_directory
from tests.fuzz.watch import start

# Wall time without a word from a worker: it hangs where no signal reaches it.
_SILENCE = 180.0
_PAIRS_A_COLLECTION = 32
# A worker that has grown by so many bytes is replaced by a new one.
_GROWTH = 256 << 20
# Examples that are kept of a kind of finding.
_EXAMPLES = 3

Maker = Callable[[int], Pair]


@dataclass
class Result:
    """Counts by command and outcome, findings by kind, and the slowest pairs."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    findings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    slowest: list[tuple[float, int, str]] = field(default_factory=list)

    @property
    def pairs(self) -> int:
        """How many were run."""
        return sum(self.counts.values())

    def add(self, report: dict[str, Any]) -> None:
        """Take what a worker says of a pair."""
        command, wrong = report["command"], report["wrong"]
        outcome = "finding" if wrong else "error" if report["detail"] else "ok"
        self.counts[command, outcome] += 1
        self.seconds[command] += report["seconds"]
        self.slowest = sorted([*self.slowest, (report["seconds"], report["number"], command)])[-5:]
        if wrong:
            kind = f"{command.split('-')[0]}: {wrong}"
            self.kinds[kind] += 1
            examples = self.findings.setdefault(kind, [])
            if len(examples) < _EXAMPLES:
                examples.append(report)

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        counts: dict[str, dict[str, int]] = {}
        for (command, outcome), count in sorted(self.counts.items()):
            counts.setdefault(command, {})[outcome] = count
        return {
            "pairs": self.pairs,
            "counts": counts,
            "milliseconds": {
                command: round(1000 * seconds / sum(counts[command].values()), 2)
                for command, seconds in sorted(self.seconds.items())
            },
            "slowest": self.slowest[::-1],
            "findings": dict(self.kinds.most_common()),
        }


class _Worker:
    """A forked process that runs every n-th of the numbers, and what it has said."""

    def __init__(self, numbers: Sequence[int], make: Maker) -> None:
        self.numbers = numbers
        self.done = 0
        self.make = make
        self._text = b""
        self.fork()

    def fork(self) -> None:
        """Go on with the numbers that are left."""
        self.heard = time.monotonic()
        self.fd, child_end = os.pipe()
        self.directory = tempfile.mkdtemp(prefix="lskel-fuzz-", dir=worker_directory())
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid:
            os.close(child_end)
            return
        status = 1
        try:
            _work(self.numbers[self.done :], self.make, self.directory, child_end)
            status = 0
        finally:
            os._exit(status)

    def read(self) -> list[dict[str, Any]] | None:
        """Reports that are there; None at the end."""
        content = os.read(self.fd, 1 << 16)
        if not content:
            return None
        self.heard = time.monotonic()
        *lines, self._text = (self._text + content).split(b"\n")
        self.done += len(lines)
        return [json.loads(line) for line in lines]

    def end(self, *, kill: bool = False) -> int:
        """Its exit status, negative for a signal, when it has ended."""
        if kill:
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.fd)
        self.pid, ended, self._text = 0, self.pid, b""
        rmtree(self.directory, ignore_errors=True)
        return os.waitstatus_to_exitcode(os.waitpid(ended, 0)[1])

    def failed(self, what: str) -> dict[str, Any]:
        """The report of the pair that ended it, or that it hangs in."""
        number = self.numbers[self.done]
        self.done += 1
        return _report(number, self.make(number).command, Verdict(-1, what), 0)


def _report(number: int, command: str, verdict: Verdict, seconds: float) -> dict[str, Any]:
    return {"number": number, "command": command, "seconds": seconds, **verdict._asdict()}


def _work(numbers: Sequence[int], make: Maker, directory: str, fd: int) -> None:
    """In a worker: run pairs and report each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(FORCE_COLOR="1", TERM="xterm-256color", COLUMNS="100")
    os.chdir(directory)
    watch = start(os.path.realpath(directory))
    first = _resident()
    for count, number in enumerate(numbers, 1):
        pair = make(number)
        before = time.process_time()
        verdict = pairs.run(pair, watch)
        seconds = round(time.process_time() - before, 4)
        line = json.dumps(_report(number, pair.command, verdict, seconds)) + "\n"
        os.write(fd, line.encode())
        if count % _PAIRS_A_COLLECTION == 0:
            gc.collect()
            if _resident() > first + _GROWTH:
                return


@cache
def _import_all() -> None:
    """Import what any command may, so that workers share it and import nothing themselves."""
    for module in walk_packages(lskel.__path__, "lskel."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    example = (ROOT / "examples" / "hello.bpf.o").read_bytes()
    log = (ROOT / "tests" / "verifier" / "logs" / "linux-6.18.txt").read_bytes()
    home = Path.cwd()
    with tempfile.TemporaryDirectory(dir=worker_directory()) as directory:
        os.chdir(directory)
        for name, command in COMMANDS.items():
            data = log if Kind.LOG in command.kinds else example
            pair = pairs.of_input(name, data, "in", log)
            with pairs.placed(pair), captured():
                main(list(pair.words))
        os.chdir(home)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def run(
    numbers: Sequence[int],
    make: Maker,
    *,
    workers: int,
    seconds: float | None = None,
    tell: Callable[[Result], None] = lambda _: None,
) -> Result:
    """Run the pairs of the numbers, or those of them that there is time for."""
    result = Result()
    _import_all()
    gc.collect()
    gc.freeze()
    started = told = time.monotonic()
    running = [_Worker(numbers[first::workers], make) for first in range(workers)]
    running = [worker for worker in running if worker.numbers]
    while running:
        ready, _, _ = select.select([worker.fd for worker in running], [], [], 1)
        now = time.monotonic()
        is_over = seconds is not None and now - started > seconds
        for worker in list(running):
            for event in _events(worker, worker.fd in ready, now):
                result.add(event)
            if worker.done >= len(worker.numbers) or is_over:
                if worker.pid:
                    worker.end(kill=True)
                running.remove(worker)
        if now - told > 60:
            told = now
            tell(result)
    tell(result)
    return result


def _events(worker: _Worker, is_ready: bool, now: float) -> Iterator[dict[str, Any]]:
    """What a worker reports, or what became of it; it is replaced where it has ended."""
    reports = worker.read() if is_ready else []
    if reports is None:
        status = worker.end()
        if status:
            yield worker.failed(f"the process ended with {status}")
        if worker.done < len(worker.numbers):
            worker.fork()
    elif not reports and now - worker.heard > _SILENCE:
        worker.end(kill=True)
        yield worker.failed(f"no word for {_SILENCE:.0f} s")
        worker.fork()
    else:
        yield from reports
