"""Finding verifiers' logs in what loaders print: libbpf, bpftool, lskel, cilium/ebpf, aya, BCC.

Each wraps the kernel's log in its own way, and journals put a time and a host before each line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lskel.errors import NotFound
from lskel.verifier.causes import match
from lskel.verifier.entries import Entry, Insn, Message, Note, SourceText, State, read_line


class Log(NamedTuple):
    """The log of one program: its name, empty where the loader does not say it, and its lines."""

    program: str
    lines: tuple[str, ...]

    def entries(self) -> tuple[Entry, ...]:
        """The lines as data."""
        return tuple(entry for line in self.lines for entry in read_line(line))


_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# What stands before a line in journals (a time, a host, a unit), in dmesg, and libbpf's own mark.
_PREFIXES = re.compile(
    r"""(?:<\d>)?
    (?:\[\s*\d+\.\d+\]\ ?
    |\w{3}\ [ \d]\d\ \d\d:\d\d:\d\d(?:\.\d+)?\ \S+\ [^\s:]+(?:\[\d+\])?:\ ?
    |\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*\ (?:\S+\ [^\s:]+\[\d+\]:\ ?)?
    )?(?:(?:libbpf|\w+):\ (?=libbpf:))?(?:libbpf:\ ?)?""",
    re.VERBOSE,
)
_BEGIN = re.compile(r"(?:prog '(?P<program>[^']*)': )?-- BEGIN .*LOG ---?$")
_END = re.compile(r"(?:prog '[^']*': )?-- END .*LOG ---?$")
# What loaders say of a program before its log, or after it.
_FAILED = re.compile(
    r"""prog\ '(?P<libbpf>[^']*)':\ (?:BPF\ program\ load\ failed|failed\ to\ load)
    |.*\bprogram\ (?P<cilium>[^\s:]+):\ load\ program:\ [^:]*
    |.*\bBPF_PROG_LOAD\ of\ program\ '(?P<lskel>[^']*)'
    """,
    re.VERBOSE,
)
# What may stand in one line with the first line of the log.
_LEADS = re.compile(r"^.*?(?:Verifier output: |\bload program: (?:[^:]*: )?)(?=\S)")
# cilium/ebpf's short form: the last lines in one line, and how many it leaves out.
_OMITTED = re.compile(r"^(?P<lines>.*) \(\d+ line\(s\) omitted\)$")
_STATISTICS = "processed "


def find_logs(text: str) -> tuple[Log, ...]:
    """The logs in a text, in its order; none where nothing looks like one.

    A log ends where its loader says so, or else with the verifier's statistics. Without either, all
    text is one log.
    """
    found = (Log(program, _trimmed(lines)) for program, lines in _parts(text.splitlines()))
    return tuple(log for log in found if _is_log(log))


def logs_of(text: str, program: str | None = None) -> tuple[Log, ...]:
    """The logs in a text, those of `program` only if it is named; NotFound where there are none.

    A log whose loader does not say what it is of may be of any program.
    """
    found = find_logs(text)
    if not found:
        raise NotFound(
            "there is no verifier's log in this",
            hint="the loader must ask the kernel for one; libbpf prints it among its errors",
        )
    wanted = tuple(log for log in found if program is None or log.program in ("", program))
    if not wanted:
        names = ", ".join(dict.fromkeys(log.program for log in found))
        raise NotFound(f"there is no log of program '{program}'", hint=f"there is: {names}")
    return wanted


def _parts(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    program, marked = "", False
    taken: list[str] = []
    for raw in lines:
        line = _PREFIXES.sub("", _ANSI.sub("", raw).rstrip(), count=1)
        if found := _BEGIN.search(line):
            if _has_insns(taken):
                yield program, taken
            program, taken, marked = found["program"] or program, [], True
        elif marked and _END.search(line):
            yield program, taken
            program, taken, marked = "", [], False
        elif not marked and (found := _FAILED.match(line)):
            if _has_insns(taken):
                yield program, taken
                taken = []
            program = found["libbpf"] or found["cilium"] or found["lskel"]
            taken += _led(line)
        else:
            taken += [line] if marked else _led(line)
            if not marked and line.strip().startswith(_STATISTICS):
                yield program, taken
                program, taken = "", []
    yield program, taken


def _led(line: str) -> list[str]:
    """A line without what a loader puts before the first line of a log."""
    rest = _LEADS.sub("", line)
    if short := _OMITTED.match(rest):
        return _joined(short["lines"])
    return [rest]


def _joined(text: str) -> list[str]:
    """Lines that were joined by colons: a message, with an instruction before it."""
    insn, _, message = text.rpartition(": ")
    return [insn, message] if re.match(r"\d+: \(", insn) else [text]


def _has_insns(lines: list[str]) -> bool:
    return any(isinstance(entry, Insn) for line in lines for entry in read_line(line))


def _trimmed(lines: list[str]) -> tuple[str, ...]:
    """The lines of a log, without what stands before its first line that only a verifier writes."""
    return tuple(line for line in lines if line.strip())


def _is_log(log: Log) -> bool:
    for entry in log.entries():
        if isinstance(entry, Insn | State | Note):
            return True
        if isinstance(entry, Message) and match((entry.text,)) is not None:
            return True
        assert isinstance(entry, Message | SourceText)
    return False


def marked(program: str, lines: Iterable[str]) -> Iterator[str]:
    """A log between libbpf's marks, with the program's name, for `find_logs` to find."""
    prefix = f"prog '{program}': " if program else ""
    yield f"{prefix}-- BEGIN PROG LOAD LOG --"
    yield from lines
    yield f"{prefix}-- END PROG LOAD LOG --"
