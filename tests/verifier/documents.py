"""The generated parts of docs/verifier.md: an example, and the list of causes.

python -m tests.verifier.documents

writes them anew, in place. A part stands between two comments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from lskel.verifier.causes import CAUSES, Cause
from lskel.verifier.explain import explain
from lskel.verifier.logs import find_logs
from lskel.verifier.render import render
from tests.verifier.broken import broken

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "verifier.md"
_LOG = Path(__file__).parent / "logs" / "linux-6.18.txt"
_PART = re.compile(r"(<!-- generated (\w+) -->\n).*?(<!-- end of \w+ -->)", re.DOTALL)


def _example() -> str:
    """A log of Linux 6.18, explained with the object."""
    program = next(program for program in broken() if program.name == "null_check_map")
    (log,) = find_logs(_LOG.read_text())
    said = "\n".join(render(explain(log.lines, program="count", source=program.loader())))
    said = said.replace(f"{program.name}.c", "count.bpf.c").replace(f" {program.mark}", "")
    first = "lskel: count: BPF_PROG_LOAD of program 'count': EACCES: Permission denied: "
    error = f"{first}R0 invalid mem access 'map_value_or_null'"
    more = "  15 lines of log: -v prints them, --log-file FILE writes them to a file"
    return f"```console\n# lskel load count.bpf.o\n{error}\n{said}\n{more}\n```\n"


def _causes() -> str:
    return "\n".join(line for cause in CAUSES for line in _cause(cause))


def _cause(cause: Cause) -> Iterator[str]:
    yield f"### {cause.id}\n"
    yield f"{cause.title[0].upper()}{cause.title[1:]}. {cause.explanation}\n"
    yield f"*Try:* {cause.suggestion}\n"
    if cause.example:
        yield f"```c\n{cause.example}\n```\n"
    if cause.messages:
        yield "```text"
        for said in cause.messages:
            yield f"{said.template}    ({said.note})" if said.note else said.template
        yield "```\n"


_MAKE: dict[str, Callable[[], str]] = {"example": _example, "causes": _causes}


def written() -> str:
    """The document with its parts as they should be."""
    return _PART.sub(lambda found: found[1] + _MAKE[found[2]]() + found[3], DOCUMENT.read_text())


if __name__ == "__main__":
    DOCUMENT.write_text(written())
