"""python -m tests.fuzz: run pairs of a damaged input and a command, and keep what goes wrong.

Each number makes one pair, always the same one as long as the seeds are the same: a finding of
`--seed 0 --count 1000000` comes again with `--seed NUMBER`. Files that are named are run as they
are, through all commands. The exit status is 1 where anything was found.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

from tests.fuzz import pair as pairs
from tests.fuzz import pool
from tests.fuzz.commands import COMMANDS
from tests.fuzz.pair import Pair
from tests.fuzz.seeds import ROOT, Kind, kind_of, make_bundles

# For those who ask for time, not for a number of pairs.
_ENOUGH = 1 << 40
# So many pairs are worth the time to make all bundles before the workers are forked.
_MANY = 20_000
_SUFFIXES = (".bpf.o", ".lskel", ".h", ".log")


def main() -> int:
    """The command line."""
    given = _arguments()
    warnings.simplefilter("ignore")  # of zipfile, which is made to write names twice
    numbers = range(given.seed, given.seed + (_ENOUGH if given.seconds else given.count))
    listed = [pair for path in given.files for pair in _all_commands(path, given.command)]

    def make(number: int) -> Pair:
        return listed[number] if listed else pairs.make(number, given.command)

    if len(numbers) > _MANY:
        make_bundles()
    kept: set[int] = set()

    def tell(result: pool.Result) -> None:
        """Write what there is so far, so that a night that is cut short is not lost."""
        for kind, examples in result.findings.items():
            for report in examples:
                if report["number"] not in kept:
                    _keep(given.keep, kind, make(report["number"]), report)
                    kept.add(report["number"])
        if given.json:
            content = {"seed": given.seed, **result.as_json()}
            given.json.parent.mkdir(parents=True, exist_ok=True)
            given.json.write_text(json.dumps(content, indent=1) + "\n")
        print(_line(result), file=sys.stderr, flush=True)

    result = pool.run(
        range(len(listed)) if listed else numbers,
        make,
        workers=given.workers,
        seconds=given.seconds,
        tell=tell,
    )
    for kind, count in result.kinds.most_common():
        print(f"  {count:6}  {kind}  (number {result.findings[kind][0]['number']})")
    return 1 if result.findings else 0


def _arguments() -> Any:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="run these as they are")
    parser.add_argument("--seed", type=int, default=0, help="the first number")
    parser.add_argument("--count", type=int, default=1, help="how many numbers")
    parser.add_argument("--seconds", type=float, help="go on for so long instead")
    parser.add_argument("--command", choices=COMMANDS, help="only this one")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "fuzz", metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the counts are written")
    return parser.parse_args()


def _all_commands(path: Path, command: str | None) -> list[Pair]:
    """A file with each command that takes what it is."""
    data = path.read_bytes()
    kind = kind_of(data, path.name)
    name = "in" + "".join(path.suffixes[-2:])
    names = [command] if command else list(COMMANDS)
    log = b"0: R1=ctx()\n"
    return [
        pairs.of_input(name_of, data, name, log if "log" in name_of else data)
        for name_of in names
        if kind in COMMANDS[name_of].kinds or kind is Kind.OBJECT
    ]


def _line(result: pool.Result) -> str:
    outcomes = {"ok": 0, "error": 0, "finding": 0}
    for (_, outcome), count in result.counts.items():
        outcomes[outcome] += count
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    seconds = sum(result.seconds.values())
    return f"{result.pairs} pairs in {seconds:.0f} s of work: {told}"


def _keep(directory: Path, kind: str, pair: Pair, report: dict[str, Any]) -> None:
    """Write a finding: the files of the pair, and what was seen."""
    pair = _smaller(pair, report["wrong"])
    slug = re.sub(r"\W+", "-", kind).strip("-")[:80]
    target = directory / slug / str(report["number"])
    target.mkdir(parents=True, exist_ok=True)
    stored = {}
    for number, (name, data) in enumerate(pair.files.items()):
        suffix = next((end for end in _SUFFIXES if name.endswith(end)), "")
        stored[f"{number}{suffix}"] = repr(name)
        (target / f"{number}{suffix}").write_bytes(data)
    seen = {
        "command": shlex.join(["lskel", *pair.words]),
        "files": stored,
        "seed": pair.seed,
        **report,
    }
    (target / "seen.json").write_text(json.dumps(seen, indent=1) + "\n")
    (target / "detail.txt").write_text(report["detail"])


def _smaller(pair: Pair, wrong: str) -> Pair:
    """The same finding with less damage, where the damage is in single places."""
    name, data = next(iter(pair.files.items()))
    if len(data) != len(pair.original):
        return pair
    for start, end in _differing(data, pair.original)[:64]:
        less = data[:start] + pair.original[start:end] + data[end:]
        candidate = pair._replace(files={**pair.files, name: less})
        if any(kind.endswith(wrong) for kind in _kinds(candidate)):
            pair, data = candidate, less
    return pair


def _kinds(pair: Pair) -> list[str]:
    return list(pool.run(range(1), lambda _: pair, workers=1).kinds)


def _differing(data: bytes, original: bytes) -> list[tuple[int, int]]:
    """Where runs of bytes differ."""
    places: list[tuple[int, int]] = []
    for at, (one, other) in enumerate(zip(data, original, strict=True)):
        if one != other:
            start = places.pop()[0] if places and places[-1][1] == at else at
            places.append((start, at + 1))
    return places


if __name__ == "__main__":
    sys.exit(main())
