"""What shells complete, in real ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lskel.cli import COMMANDS
from tests.build.clang import EXAMPLES, example
from tests.cli.in_process import lskel
from tests.cli.shells import BASH, ZSH, Shell, type_lines
from tests.conftest import lacking

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SHELLS = [BASH, ZSH]
LOAD, DISASM = ["lskel", "load", "tool.bpf.o"], ["lskel", "disasm", "tool.bpf.o"]
# What a line becomes whose tab has one answer: the words.
WHOLE = [
    ("lskel comple\tzsh", ["lskel", "completion", "zsh"]),
    ("lskel load to\t--js\tx", [*LOAD, "--json", "x"]),
    ("lskel load --replay sim\tx", ["lskel", "load", "--replay", "simulator", "x"]),
    ("lskel load --replay=sim\tx", ["lskel", "load", "--replay=simulator", "x"]),
    ("lskel inspect su\tin\tx", ["lskel", "inspect", "sub/inner.lskel", "x"]),
    ("lskel load tool.bpf.o --pin s\tx", [*LOAD, "--pin", "sub/x"]),
    ("lskel disasm tool.bpf.o --program \tx", [*DISASM, "--program", "count_syscall", "x"]),
    ("lskel load tool.bpf.o --set rodata.t\t42", [*LOAD, "--set", "rodata.target_pid=42"]),
    ("lskel load tool.bpf.o --set=rodata.t\t42", [*LOAD, "--set=rodata.target_pid=42"]),
    ("lskel load tool.bpf.o --max-entries sysca\t9", [*LOAD, "--max-entries", "syscalls=9"]),
    ("lskel load tool.bpf.o --type cou\txd\t x", [*LOAD, "--type", "count_syscall=xdp", "x"]),
    ("lskel run events.o --event \tt", ["lskel", "run", "events.o", "--event", "events=t"]),
]


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A directory with objects."""
    shutil.copy(example("syscount"), tmp_path / "tool.bpf.o")
    shutil.copy(example("execsnoop"), tmp_path / "events.o")
    (tmp_path / "sub").mkdir()
    lskel("gen", example("syscount"), "-o", tmp_path / "sub" / "inner.lskel")
    return tmp_path


def setup_of(shell: Shell) -> str:
    if shutil.which(shell.name) is None:
        lacking(f"{shell.name} is not installed")
    begin = "autoload -Uz compinit; compinit -u -D; " if shell is ZSH else ""
    return f'{begin}eval "$(lskel completion {shell.name})"'


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell.name)
def test_words(shell: Shell, desk: Path) -> None:
    lines = [line for line, _ in WHOLE]
    typed = type_lines(shell, setup_of(shell), lines, BIN, desk)
    for (line, expected), became in zip(WHOLE, typed, strict=True):
        assert became.words == expected, line


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell.name)
def test_choices(shell: Shell, desk: Path) -> None:
    lines = ["lskel \t", "lskel load tool.bpf.o --set \t", "lskel load nothing.o --set \t"]
    commands, variables, nothing = type_lines(shell, setup_of(shell), lines, BIN, desk)
    assert all(name in commands.shown for name in COMMANDS)
    for name in ("rodata.target_pid=", "rodata.per_syscall=", "bss.lost="):
        assert name in variables.shown
    assert "rodata" not in nothing.shown and "Traceback" not in nothing.shown


def fish(line: str, desk: Path, setup: str = "lskel completion fish | source") -> dict[str, str]:
    """What fish offers for a line, and what it says of each."""
    if shutil.which("fish") is None:
        lacking("fish is not installed")
    script = f"{setup}; complete -C {line!r}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        cwd=desk,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(desk)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    offers = (line.partition("\t") for line in done.stdout.splitlines())
    return {value: help_text for value, _, help_text in offers}


def test_fish(desk: Path) -> None:
    assert fish("lskel ", desk) == COMMANDS
    assert list(fish("lskel di", desk)) == ["diff", "disasm"]
    assert list(fish("lskel load to", desk)) == ["tool.bpf.o"]
    assert list(fish("lskel load tool.bpf.o --pin ", desk)) == ["sub/"]
    assert list(fish("lskel load --replay ", desk)) == ["kernel", "direct", "simulator"]
    assert list(fish("lskel load --replay=s", desk)) == ["--replay=simulator"]
    assert fish("lskel load --js", desk) == {"--json": "Print JSON."}
    assert list(fish("lskel load tool.bpf.o --set rodata.", desk)) == [
        "rodata.target_pid=",
        "rodata.per_syscall=",
    ]
    assert list(fish("lskel load tool.bpf.o --type count_syscall=xd", desk)) == [
        "count_syscall=xdp"
    ]
    assert list(fish("lskel disasm sub/inner.lskel --program ", desk)) == ["count_syscall"]
    assert fish("lskel disasm nothing.o --program ", desk) == {}


def test_files_of_packages(desk: Path) -> None:
    """Where they are installed, shells find them by themselves."""
    share = ROOT / "share"
    loaded = f"source {share}/bash-completion/completions/lskel"
    line, whole = WHOLE[0]
    for typed in type_lines(BASH, loaded, [line, line], BIN, desk):
        assert typed.words == whole
    on_path = f"fpath+=({share}/zsh/site-functions); autoload -Uz compinit; compinit -u -D"
    for typed in type_lines(ZSH, on_path, [line, line], BIN, desk):
        assert typed.words == whole
    found = f"set fish_complete_path {share}/fish/vendor_completions.d"
    assert list(fish("lskel comple", desk, found)) == ["completion"]


def test_all_examples_are_offered_as_files() -> None:
    assert len(list(EXAMPLES.glob("*.bpf.o"))) > 3
    assert answer(f"lskel inspect {EXAMPLES}/") == f"file\t{EXAMPLES}/\t\n"


HOSTILE = ROOT / "tests" / "hostile" / "inputs" / "inj-completion.bpf.o"
_PAYLOAD = b"pr$(touch /scratchxx/comp/PWNED)________"
# Names of a program that no shell may get, and one that it may.
NO_WORDS = (
    "a$(b)",
    "a`b`",
    "a;b",
    "a b",
    "a'b",
    'a"b',
    "a\\b",
    "a\nb",
    "a&b",
    "a*",
    "~a",
    "-a",
    "#a",
)


def named(name: bytes) -> bytes:
    """The object with another name for its program."""
    data = HOSTILE.read_bytes()
    assert data.count(_PAYLOAD) > 0
    return data.replace(_PAYLOAD, name.ljust(len(_PAYLOAD), b"_"))


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell.name)
def test_names_run_nothing(shell: Shell, desk: Path) -> None:
    payload = b"pr$(touch${IFS}run)"
    (desk / "bad.o").write_bytes(named(payload))
    (desk / "worse.o").write_bytes(HOSTILE.read_bytes())
    for name in ("bad.o", "worse.o"):
        line = f"lskel disasm {name} --program \tpr\tx"
        (typed,) = type_lines(shell, setup_of(shell), [line], BIN, desk)
        assert typed.words == ["lskel", "disasm", name, "--program", "prx"]
        assert "touch" not in typed.shown
    assert not (desk / "run").exists()


def test_fish_gets_no_such_names(desk: Path) -> None:
    (desk / "bad.o").write_bytes(HOSTILE.read_bytes())
    assert fish("lskel disasm bad.o --program ", desk) == {}


def answer(line: str) -> str:
    """What a shell is told when this much of a line is typed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_LSKEL_COMPLETE", line)
        return lskel()[0]


def offered(source: Path) -> str:
    return answer(f"lskel disasm {source} --program ")


def test_names_that_are_no_words_are_not_offered(tmp_path: Path) -> None:
    source = tmp_path / "x.o"
    source.write_bytes(named("größe".encode()))
    assert offered(source).startswith("plain\tgröße___")
    for name in NO_WORDS:
        source.write_bytes(named(name.encode()))
        assert offered(source) == "", name
