"""The commands that inputs go through, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tests.fuzz import outputs
from tests.fuzz.outputs import Check
from tests.fuzz.seeds import Kind

# What stands for paths in the words of a command.
INPUT, OTHER, OUTPUT = "{input}", "{other}", "{output}"

_OBJECTS = {Kind.OBJECT: 6, Kind.BUNDLE: 4}
_LOADERS = {Kind.OBJECT: 4, Kind.BUNDLE: 5, Kind.HEADER: 1}
_GENERATION = (("--form", "unrolled"), ("--form", "table"), ("--links",), ("--debug",))
# For every other input, since without it few of the damaged bundles get beyond the first check.
_TRUST = (("--trust-bytes",),) * 4


class Command(NamedTuple):
    """A command: its words, inputs by weight, and what it may be given besides.

    `fails` are the exit statuses without an error on standard error. `printed` checks standard
    output, `written` the file {output}.
    """

    weight: int
    words: tuple[str, ...]
    kinds: Mapping[Kind, int]
    options: tuple[tuple[str, ...], ...] = ()
    printed: Check = outputs.printed
    written: Check | None = None
    output: str = ""
    fails: tuple[int, ...] = ()
    errors: tuple[int, ...] = (1,)


def _gen(weight: int, output: str, check: Check, *words: str) -> Command:
    form = _GENERATION[:2] if "--form" not in words else ()
    return Command(
        weight,
        ("gen", INPUT, "-o", OUTPUT, *words),
        _OBJECTS,
        (*form, *_GENERATION[2:], *_TRUST, ("--json",)),
        written=check,
        output=output,
    )


COMMANDS: Mapping[str, Command] = {
    "gen": _gen(10, "out.lskel", outputs.bundle),
    "gen-both": _gen(2, "out.lskel", outputs.bundle, "--form", "auto"),
    "gen-python": _gen(5, "out.py", outputs.python),
    "gen-python-import": _gen(10, "out.py", outputs.python_run, "--runtime", "import"),
    "gen-c": _gen(8, "out.h", outputs.c_header),
    "gen-c-standalone": _gen(6, "out.h", outputs.c_header, "--standalone"),
    "inspect": Command(10, ("inspect", INPUT), _OBJECTS, (("--json",),)),
    "trace": Command(12, ("trace", INPUT), _LOADERS, (*_GENERATION, ("-v",), ("-v",), ("--json",))),
    "diff": Command(
        6,
        ("diff", INPUT, OTHER),
        _LOADERS,
        (*_GENERATION, ("--json",)),
        fails=(1,),
        errors=(2,),
    ),
    "disasm": Command(9, ("disasm", INPUT), _OBJECTS, (("--raw",), ("--no-source",), ("--json",))),
    "disasm-loader": Command(
        5, ("disasm", INPUT, "--loader"), _OBJECTS, (*_GENERATION, ("--raw",), ("--json",))
    ),
    "explain": Command(
        4, ("explain", INPUT, "--json"), _OBJECTS, _GENERATION, printed=outputs.json_text
    ),
    "explain-page": Command(
        2,
        ("explain", INPUT, "-o", OUTPUT),
        _OBJECTS,
        _GENERATION,
        written=outputs.page,
        output="out.html",
    ),
    "explain-against": Command(
        2,
        ("explain", OTHER, "--against", INPUT, "-o", OUTPUT),
        _LOADERS,
        written=outputs.page,
        output="out.html",
    ),
    "doctor": Command(
        4,
        ("doctor", INPUT),
        _OBJECTS,
        (("--replay", "direct"), *_TRUST, ("--json",)),
        fails=(1,),
        errors=(2,),
    ),
    "verifier-log": Command(
        12, ("verifier-log", INPUT), {Kind.LOG: 1}, (("-v",), ("--json",)), fails=(1,)
    ),
    "verifier-log-object": Command(
        2, ("verifier-log", OTHER, "--object", INPUT), _OBJECTS, (("--json",),), fails=(1,)
    ),
    "load": Command(
        8, ("load", INPUT, "--replay", "simulator"), _OBJECTS, (*_GENERATION, *_TRUST, ("--json",))
    ),
}
