"""Pages of Markdown as a reader follows them: files to write, commands to type, Python to run.

A block of code says in its fence what it is:

- ``console``: commands behind the prompts ``$`` (any user) and ``#`` (root), each with its output.
  Lines that go on end in a backslash. A line ``^C`` is Ctrl-C. An output that begins with
  ``lskel:`` is that of a command that fails;
- any language with ``title="NAME"``: the file of that name;
- ``python``: goes on where the last one on the page ended;
- ``text title="output"``: what the last Python prints;
- ``json``, ``yaml``: is well-formed;
- ``text``: for people.

What is below a comment ``<!-- generated: ... -->``, other than ``console``, or between
``<!-- generated NAME -->`` and ``<!-- end of NAME -->`` is compared elsewhere, and not run here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent.parent
_WHERE = ("*.md", "docs/**/*.md", "benchmarks/*.md")
DOCUMENTS = tuple(sorted(path.relative_to(ROOT) for where in _WHERE for path in ROOT.glob(where)))
INTERRUPT = "^C"
_OUTPUT = "output"
_INFO = re.compile(r'(?P<language>\w*)(?: title="(?P<title>[^"]+)")?')
_COMMENT = re.compile(r" +# .*$")
# What is compared elsewhere: the next block, or all up to the end.
_GENERATED = re.compile(r"<!-- generated: .* -->\s*")
_BEGIN, _END = re.compile(r"<!-- generated \w+ -->"), re.compile(r"<!-- end of \w+ -->")
_NO_LANGUAGE = {"fence": "", "code_block": "indented"}


class Block(NamedTuple):
    """A block of code; `line` counts from 1."""

    line: int
    language: str
    title: str
    text: str
    is_generated: bool


@dataclass(frozen=True)
class File:
    """A file that the reader writes."""

    line: int
    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command that the reader types. `shown` is what the page says it prints, "" for nothing."""

    line: int
    text: str
    as_root: bool
    shown: str = ""

    @property
    def is_interrupted(self) -> bool:
        """Whether the reader ends it by Ctrl-C."""
        return self.shown.endswith(f"{INTERRUPT}\n")

    @property
    def fails(self) -> bool:
        """Whether the page shows that it fails."""
        return any(line.startswith("lskel: ") for line in self.shown.splitlines())

    @property
    def output(self) -> str:
        """What it prints, without the reader's Ctrl-C."""
        return self.shown.removesuffix(f"{INTERRUPT}\n")


@dataclass(frozen=True)
class Snippet:
    """A piece of Python, and what the page says it prints."""

    line: int
    text: str
    shown: str = ""


@dataclass(frozen=True)
class Data:
    """A text in a language that can be parsed."""

    line: int
    language: str
    text: str


Step = File | Command | Snippet | Data


class BadPage(Exception):
    """A page that breaks the rules above."""


def blocks(path: Path) -> Iterator[Block]:
    """All blocks of code, fenced and indented; the latter have the language `indented`."""
    is_next = is_inside = False
    for token in MarkdownIt().parse(path.read_text()):
        if token.type == "html_block":
            is_next = bool(_GENERATED.fullmatch(token.content))
            is_inside = (is_inside or bool(_BEGIN.search(token.content))) and not _END.search(
                token.content
            )
            continue
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            line = token.map[0] + 1
            info = _INFO.fullmatch(token.info.strip() or token.type)
            if info is None:
                raise BadPage(f"{path}:{line}: what kind of block is '{token.info}'?")
            language = _NO_LANGUAGE.get(info["language"], info["language"])
            is_generated = is_inside or (is_next and language != "console")
            yield Block(line, language, info["title"] or "", token.content, is_generated)
        is_next = False


def steps(path: Path) -> list[Step]:
    """What a reader of the page does, in order; BadPage where a block is of no known kind."""
    found: list[Step] = []
    for block in blocks(path):
        if block.is_generated:
            continue
        if block.title == _OUTPUT:
            last = found.pop() if found else None
            if not isinstance(last, Snippet) or last.shown:
                raise BadPage(f"{path}:{block.line}: an output of no Python")
            found.append(Snippet(last.line, last.text, block.text))
        elif block.title:
            found.append(File(block.line, block.title, block.text))
        elif block.language == "console":
            found += _commands(path, block)
        elif block.language == "python":
            found.append(Snippet(block.line, block.text))
        elif block.language in ("json", "yaml"):
            found.append(Data(block.line, block.language, block.text))
        elif block.language not in ("text", "indented"):
            raise BadPage(f"{path}:{block.line}: a block of '{block.language}' has no title")
    return found


def _commands(path: Path, block: Block) -> Iterator[Command]:
    current: Command | None = None
    is_open = False
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if is_open and current is not None:
            current = _with(current, text=f"{current.text}\n{line}")
            is_open = line.endswith("\\")
        elif line[:2] in ("$ ", "# "):
            if current is not None:
                yield current
            typed = _COMMENT.sub("", line[2:])
            current = Command(number, typed, as_root=line[0] == "#")
            is_open = line.endswith("\\")
        elif current is None:
            raise BadPage(f"{path}:{number}: an output of no command")
        else:
            current = _with(current, shown=f"{current.shown}{line}\n")
    if current is not None:
        yield current


def _with(command: Command, text: str | None = None, shown: str | None = None) -> Command:
    return Command(
        command.line,
        command.text if text is None else text,
        command.as_root,
        command.shown if shown is None else shown,
    )
