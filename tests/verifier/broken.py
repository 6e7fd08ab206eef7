"""Programs that the verifier refuses, in programs/*.c: each says in a comment what is wrong where.

``/* FAILS: cause */`` stands in the line that is to be named, or in a line of its own where the
mistake is in no particular one. ``SINCE: 6.4`` and ``BEFORE: 7.3`` say which kernels refuse it.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import lskel
from lskel.loader.model import Loader
from tests.build.clang import compile_bpf

_DIRECTORY = Path(__file__).parent / "programs"
_MARK = re.compile(r"/\* FAILS: ([\w-]+)(?: SINCE: ([\d.]+))?(?: BEFORE: ([\d.]+))? \*/")
_OPTIONS = re.compile(r"/\* CLANG: (.*) \*/")

Version = tuple[int, ...]


class Broken(NamedTuple):
    """A program: the cause and line (None: no particular one) that are to be named."""

    name: str
    source: str
    cause: str
    line: int | None
    since: Version
    before: Version = ()

    def is_refused_by(self, release: str) -> bool:
        """Whether the kernel of this release refuses it."""
        version = version_of(release)
        return self.since <= version and (not self.before or version < self.before)

    def compiled(self) -> bytes:
        """The object; clang reads the text of lines from the file that #line names."""
        options = _OPTIONS.search(self.source)
        text = f'#line 1 "{self.name}.c"\n{self.source}'
        given = options[1].split() if options else []
        given += ["-nohead", f"-ffile-prefix-map={_DIRECTORY}=."]
        return compile_bpf(text, *given, directory=_DIRECTORY)

    def loader(self) -> Loader:
        """Its loader, whose programs have the lines of the source."""
        return lskel.generate(lskel.open_object(self.compiled(), name=self.name[:15]))

    @property
    def mark(self) -> str:
        """The comment that says what is wrong."""
        return f"/* FAILS: {self.cause} */"

    def text(self, line: int) -> str:
        """A line of the source, without indentation."""
        return self.source.splitlines()[line - 1].strip()


def version_of(release: str) -> Version:
    """6.1.0-56-amd64 as (6, 1)."""
    return tuple(int(part) for part in re.findall(r"\d+", release)[:2])


@cache
def broken() -> tuple[Broken, ...]:
    """All programs, by name."""
    return tuple(_read(path) for path in sorted(_DIRECTORY.glob("*.c")))


def _read(path: Path) -> Broken:
    source = path.read_text()
    lines = source.splitlines()
    marks = [
        (number, found) for number, line in enumerate(lines, 1) if (found := _MARK.search(line))
    ]
    assert len(marks) == 1, f"{path}: one mark is needed"
    number, found = marks[0]
    is_alone = lines[number - 1] == found[0]
    return Broken(
        path.stem,
        source,
        found[1],
        None if is_alone else number,
        version_of(found[2] or ""),
        version_of(found[3] or ""),
    )
