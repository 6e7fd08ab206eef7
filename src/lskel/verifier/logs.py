"""Finding verifier logs in the output of loaders: libbpf, bpftool, lskel, cilium/ebpf, aya, BCC.

Each wraps the kernel's log differently, and journals prefix each line with a time and a host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lskel.errors import NotFound
from lskel.verifier.causes import match
from lskel.verifier.entries import Entry, LogInsn, LogState, Message, Note, read_entries, read_line
from lskel.verifier.walk import MAX_MESSAGES


class Log(NamedTuple):
    """The log of one program: its name, empty if the loader does not print it, and its lines."""

    program: str
    lines: tuple[str, ...]

    def entries(self) -> tuple[Entry, ...]:
        """The lines as data."""
        return read_entries(self.lines)


_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# The line prefixes of journals (time, host, unit), of dmesg and of libbpf.
_PREFIXES = re.compile(
    r"""(?:<\d>)?
    (?:\[\s*\d+\.\d+\]\ ?
    |(?:\w{3}\ [ \d]\d\ )?\d\d:\d\d:\d\d(?:\.\d+)?\ \S+\ [^\s:]+\[\d+\]:\ ?
    |\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*\ (?:\S+\ [^\s:]+\[\d+\]:\ ?)?
    )?(?:libbpf:\ ?)?""",
    re.VERBOSE,
)
# libbpf's marker lines; before 0.6 they do not name the program.
_BEGIN = re.compile(r"(?:prog '(?P<program>[^']*)': )?-- BEGIN .*LOG ---?$")
_END = re.compile(r"(?:prog '[^']*': )?-- END .*LOG ---?$")
# What loaders print about a program before its log...
_NAMED_BEFORE = re.compile(
    r"""prog\ '(?P<libbpf>[^']*)':\ BPF\ program\ load\ failed
    |.*\bprogram\ (?P<cilium>[^\s:]+):\ load\ program:\ [^:]*
    |.*\bBPF_PROG_LOAD\ of\ program\ '(?P<lskel>[^']*)'
    |Prog\ section\ '(?P<iproute2>[^']*)'\ rejected
    """,
    re.VERBOSE,
)
# ... and after it, if it has no name yet.
_NAMED_AFTER = re.compile(
    r"""prog\ '(?P<libbpf>[^']*)':\ failed\ to\ load
    |failed\ to\ load\ program\ '(?P<older>[^']*)'
    |.*Failed\ to\ load\ BPF\ program\ b?'(?P<bcc>[^']*)'
    """,
    re.VERBOSE,
)
# Prefixes on the first line of the log: aya's and cilium/ebpf's.
_LEADS = re.compile(r"^.*?(?:Verifier output: |\bload program: (?:[^:]*: )?)(?=\S)")
# cilium/ebpf's short form: the last lines on one line, and the number of omitted lines.
_OMITTED = re.compile(r"^(?P<lines>.*) \(\d+ line\(s\) omitted\)$")
_STATISTICS = "processed "


def find_logs(text: str) -> tuple[Log, ...]:
    """The logs in a text, in order; none if nothing looks like a log.

    A log ends at its loader's end marker, or else with the verifier's statistics. Without either,
    the whole text is one log.
    """
    finder = _Finder()
    for line in text.splitlines():
        finder.read(_PREFIXES.sub("", _ANSI.sub("", line).rstrip(), count=1))
    finder.end()
    return tuple(finder.logs)


def logs_of(text: str, program: str | None = None) -> tuple[Log, ...]:
    """The logs in a text, or only those of `program`; NotFound if none.

    A log without a program name matches any program.
    """
    text = text.rstrip("\0")  # of a log buffer that was written completely
    found = () if "\0" in text else find_logs(text)
    if not found:
        raise NotFound(
            "no verifier log found",
            hint="the loader must request a log; libbpf prints it with its errors",
        )
    wanted = tuple(log for log in found if program is None or log.program in ("", program))
    if not wanted:
        names = ", ".join(dict.fromkeys(log.program for log in found))
        raise NotFound(f"no log of program '{program}'", hint=f"available: {names}")
    return wanted


class _Finder:
    """Reads lines without prefixes, and collects the logs."""

    def __init__(self) -> None:
        self.logs: list[Log] = []
        self._name = ""
        self._lines: list[str] = []
        self._is_marked = False

    def read(self, line: str) -> None:
        """Read the next line."""
        if begin := _BEGIN.match(line.strip()):
            self.end(keep_name=True)
            self._name, self._is_marked = begin["program"] or self._name, True
        elif self._is_marked:
            if _END.match(line.strip()):
                self.end()
            elif line.strip():
                self._lines.append(line)
        elif before := _NAMED_BEFORE.match(line):
            self.end()
            self._name = before[before.lastgroup or 0]
            self._lines += _led(line)
        elif (after := _NAMED_AFTER.match(line)) and self.logs and not self.logs[-1].program:
            self.end()
            self.logs[-1] = self.logs[-1]._replace(program=after[after.lastgroup or 0])
        elif line.strip():
            led = _led(line)
            self._lines += led
            read = (entry for one in led for entry in read_line(one))
            if any(isinstance(one, Note) and one.text.startswith(_STATISTICS) for one in read):
                self.end()

    def end(self, *, keep_name: bool = False) -> None:
        """Add the lines read so far as a log, if they look like one."""
        log = Log(self._name, tuple(self._lines))
        if _is_log(log):
            self.logs.append(log)
        self._lines, self._is_marked = [], False
        if not keep_name:
            self._name = ""


def _led(line: str) -> list[str]:
    """A line without the loader's prefix of the first line of a log."""
    rest = _LEADS.sub("", line)
    if short := _OMITTED.match(rest):
        return _joined(short["lines"])
    return [rest]


def _joined(text: str) -> list[str]:
    """Split lines that were joined by colons: a message, after an instruction."""
    insn, _, message = text.rpartition(": ")
    return [insn, message] if re.match(r"\d+: \(", insn) else [text]


def _is_log(log: Log) -> bool:
    entries = log.entries()
    if any(isinstance(entry, LogInsn | LogState | Note) for entry in entries):
        return True
    last = entries[-MAX_MESSAGES:]
    return match([entry.text for entry in last if isinstance(entry, Message)]) is not None


def marked(program: str, lines: Iterable[str]) -> Iterator[str]:
    """A log between libbpf's marker lines, with the program's name, for `find_logs`."""
    prefix = f"prog '{program}': " if program else ""
    yield f"{prefix}-- BEGIN PROG LOAD LOG --"
    yield from lines
    yield f"{prefix}-- END PROG LOAD LOG --"
