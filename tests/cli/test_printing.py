"""Whatever an input holds, a terminal gets printable lines, and colours of lskel's own."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from lskel.cli.terminal import line
from lskel.errors import LskelError, printable
from lskel.styled_lines import StyledLine, Tone
from tests.build.clang import example
from tests.cli.terminals import LSKEL, SGR, on_terminal

SOURCE = Path(__file__).parents[2] / "src" / "lskel"
INPUTS = Path(__file__).parents[1] / "hostile" / "inputs"
LOG = INPUTS / "log-int.log"
# A title, a cleared screen, a line of its own, C1's CSI, right-to-left, what is not seen.
HOSTILE = (
    "\x1b]0;T\x07\x1b[2J\nFAKE\r\x9b31m\u202e\u200b\ufeff\u2066\u034f\ufe0f\u2028\u00ad\x7f\b\x00"
)
# The names that are there to be replaced.
_PLACEHOLDER = re.compile(rb"((?:CONFIG_|\.data\.)?)((?:[A-Z]{6,8}_){4,}[A-Z]*)")
_UNSEEN = "\u034f\ufe0f"
# What a bar of progress does, which nothing else may.
_BAR = re.compile(r"\x1b\[(?:2K|1A|\?25[lh])|\r")


def hostile_bytes(size: int, tag: int) -> bytes:
    """Bytes that are no name, all others than those of another tag; not all of them are UTF-8."""
    text = HOSTILE.replace("\0", "").encode() + b"\xff\xc0"
    return (b"%02d" % tag + text * (1 + size // len(text)))[:size]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An object all of whose names are hostile, in a file that is called so, too."""
    tags: dict[bytes, int] = {}

    def renamed(found: re.Match[bytes]) -> bytes:
        return found[1] + hostile_bytes(len(found[2]), tags.setdefault(found[2], len(tags)))

    data = _PLACEHOLDER.sub(renamed, (INPUTS / "term-trace.bpf.o").read_bytes())
    assert len(tags) > 8
    path = tmp_path_factory.mktemp("hostile") / f"{HOSTILE.replace(chr(0), '')}.bpf.o"
    path.write_bytes(data)
    return path


def unclean(text: str) -> set[str]:
    """What a terminal must not get of a text."""
    left = SGR.sub("", text).replace("\r\n", "\n")
    bad = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return {c for c in left.replace("\n", "") if unicodedata.category(c) in bad or c in _UNSEEN}


COMMANDS = {
    "inspect": "inspect OBJ",
    "trace": "trace OBJ",
    "trace-verbose": "trace -v OBJ",
    "trace-failing": "trace OBJ --fail 9=EACCES",
    "diff": f"diff OBJ {example('hello')}",
    "disasm": "disasm OBJ --raw",
    "disasm-loader": "disasm --loader --debug OBJ",
    "simulated": "load --replay simulator OBJ",
    "explain": "explain OBJ -o -",
    "explain-json": "explain OBJ --json",
    "gen-bundle": "gen OBJ -o -",
    "gen-nowhere": "gen OBJ -o OUT/OUT",
    "no-object": "inspect OUT",
    "no-program": "disasm OBJ --program OUT",
    "no-command": "OUT",
    "no-option": "inspect --OUT",
    "no-choice": "completion OUT",
    "too-many": "inspect OUT OUT",
    "version-of-log": f"verifier-log {LOG} --program OUT",
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_commands(words: str, hostile: Path, tmp_path: Path) -> None:
    out = str(tmp_path / HOSTILE.replace("\0", ""))
    known = {"OBJ": str(hostile), "OUT": out}
    screen = on_terminal(*(known.get(word, word.replace("OUT", out)) for word in words.split(" ")))
    assert screen.raw and not unclean(screen.raw)
    assert "Traceback" not in screen.raw and "internal error" not in screen.raw
    assert not any(text.startswith("FAKE") for text in screen.raw.splitlines())


def test_generated(hostile: Path) -> None:
    screen = on_terminal("gen", hostile, "-o", "-", "--lang", "c")
    assert screen.status == 0 and screen.raw and not unclean(screen.raw)


@pytest.mark.kernel
@pytest.mark.parametrize("words", ["load", "load -v", "load --replay direct", "run --duration 0"])
def test_kernel(words: str, hostile: Path) -> None:
    screen = on_terminal(*words.split(), hostile)
    assert screen.status == 1 and screen.raw and not unclean(screen.raw)


@pytest.mark.kernel
@pytest.mark.parametrize("words", ["doctor", "doctor -v"])
def test_doctor(words: str, hostile: Path) -> None:
    screen = on_terminal(*words.split(), hostile)
    assert screen.status == 1 and screen.raw and not unclean(screen.raw)


@pytest.mark.kernel
@pytest.mark.parametrize("words", ["load", "load --replay simulator", "run --duration 0", "gen -o"])
def test_progress(words: str, hostile: Path, tmp_path: Path) -> None:
    last = [f"{tmp_path}/out/"] if words.startswith("gen") else []
    screen = on_terminal(*words.split(), *last, hostile, hostile, example("hello"))
    assert "\x1b[2K" in screen.raw and not unclean(_BAR.sub("", screen.raw))


@pytest.mark.parametrize("verbose", [(), ("-v",)])
def test_verifier_log(verbose: tuple[str, ...], tmp_path: Path) -> None:
    log = tmp_path / "log"
    text = HOSTILE.replace("\n", "").replace("\r", "").replace("\x00", "")
    log.write_text(LOG.read_text().replace("SEC(", f"{text}SEC(").replace("stack.bpf", text))
    screen = on_terminal("verifier-log", log, *verbose)
    assert screen.is_styled and not unclean(screen.raw)


@pytest.mark.kernel
def test_events(tmp_path: Path) -> None:
    """A program that is started while they are traced says its name."""
    program = tmp_path / "\x1b]0;T\x07\x9b"
    shutil.copy(shutil.which("true") or "true", program)
    done = threading.Event()

    def start() -> None:
        while not done.wait(0.05):
            subprocess.run([program], check=True)

    starter = threading.Thread(target=start)
    starter.start()
    try:
        screen = on_terminal("run", example("execsnoop"), "--duration", "2")
    finally:
        done.set()
        starter.join()
    assert screen.status == 0 and r"\u001b]0;T\u0007\x9b" in screen.raw and not unclean(screen.raw)


def test_what_was_asked_for_is_there(hostile: Path) -> None:
    """Names are escaped, not left out."""
    shown = on_terminal("inspect", hostile, COLUMNS="400").raw
    assert r"\x1b]0;T\x07\x1b[2J\nFAKE\r\x9b31m\u202e\u200b" in shown
    traced = on_terminal("trace", hostile).raw
    assert r"tp_btf/" not in traced and r"btf_trace_\x1b]0;EVILTITLE\x07\x1b[8m" in traced


def test_encodings() -> None:
    """What standard output has no letters for comes as escapes."""
    missing = "/nowhere/\u00e9\u20ac\udcff"
    done = subprocess.run(
        [*LSKEL, "inspect", missing.encode("utf-8", "surrogateescape")],
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(SOURCE.parent)},
        capture_output=True,
        check=False,
    )
    assert done.stderr.decode("ascii").startswith("lskel: /nowhere/") and done.returncode == 1


def test_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    line(StyledLine("a\x1b[1m", ("b\n", Tone.TITLE), "c\x9b"))
    assert capsys.readouterr().out == "a\\x1b[1m\x1b[1mb\\n\x1b[0mc\\x9b\n"
    line("\x1b[31m")
    assert capsys.readouterr().out == "\\x1b[31m\n"


def test_printable() -> None:
    assert not unclean(printable(HOSTILE)) and "\n" not in printable(HOSTILE)
    assert printable("größer 中文 é") == "größer 中文 é"
    assert str(LskelError("a\nb\u202e\udcff")) == r"a\nb\u202e\udcff"


def calls(tree: ast.AST) -> Iterator[str]:
    """Names that a module uses, with the module's or object's before them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module.split('.')[0]}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


PRINTING = re.compile(
    r"print|(sys|os)\.(stdout|stderr|__stdout__|__stderr__)|rich(\..*)?|logging(\..*)?"
    r"|click\.(echo\w*|secho|style|prompt|confirm|progressbar|pause|get_\w+_stream)"
)
MODULES = sorted(SOURCE.rglob("*.py"))


def test_one_module_prints() -> None:
    found = {
        str(path.relative_to(SOURCE))
        for path in MODULES
        if any(PRINTING.fullmatch(name) for name in calls(ast.parse(path.read_text())))
    }
    assert found == {"cli/terminal.py", "cli/streams.py"}
