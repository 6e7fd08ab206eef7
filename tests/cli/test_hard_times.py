"""Where much is missing, or is not what it should be: one line says what failed."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lskel.cli.status import Status
from tests.build.clang import example
from tests.cli import in_process
from tests.cli.terminals import LSKEL
from tests.conftest import lacking

SOURCE = Path(__file__).parents[2] / "src"
INPUTS = Path(__file__).parents[1] / "hostile" / "inputs"
HELLO, EXECSNOOP = example("hello"), example("execsnoop")
MANY_DIGITS = "1" * 5000


def run(
    *command: str | Path,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, *map(str, command)],
        env={**os.environ, "PYTHONPATH": str(SOURCE), **(environment or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def lskel(*args: str | Path, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return run(*LSKEL, *args, before=before)


def one_line(done: subprocess.CompletedProcess[str], status: int = 1) -> str:
    """The error, which is one line of lskel's."""
    assert done.returncode == status, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("lskel: ") and not line.startswith("lskel: internal error")
    return line


# -- what Python gives up on, and bugs ---------------------------------------------------------

# Has a function that `lskel inspect` calls raise something.
RAISES = """
import sys, lskel.cli.inspect as command
from lskel.cli import main

def summarize(opened):
    raise {what}

command.summarize = summarize
sys.exit(main(["inspect", {path!r}]))
"""


def raising(what: str, **environment: str) -> subprocess.CompletedProcess[str]:
    script = RAISES.format(what=what, path=str(HELLO))
    return run(sys.executable, "-c", script, environment=environment)


def test_what_python_gives_up_on() -> None:
    assert one_line(raising("MemoryError")) == f"lskel: {HELLO}: out of memory"
    assert one_line(raising("RecursionError")) == f"lskel: {HELLO}: nested too deeply"


def test_other_errors_are_not_of_output() -> None:
    found = one_line(raising("OSError(24, 'Too many open files', '/some/file')"))
    assert found.startswith("lskel: /some/file: Too many open files (raise the process limit")
    assert one_line(raising("OSError(28, 'No space')")) == "lskel: inspect: No space"
    assert one_line(raising("BrokenPipeError(32, 'Broken pipe')")) == "lskel: inspect: Broken pipe"


@pytest.mark.parametrize("what", ["ValueError('a\\nb')", "KeyError('a')", "AssertionError"])
def test_bugs(what: str) -> None:
    done = raising(what)
    assert done.returncode == Status.INTERNAL and "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    name = what.partition("(")[0]
    assert re.match(rf"lskel: internal error: {name} at <string>:6: .*LSKEL_DEBUG=1", line)
    traced = raising(what, LSKEL_DEBUG="1")
    assert traced.returncode == Status.INTERNAL and traced.stderr.startswith("Traceback")
    assert traced.stderr.splitlines()[-1] == line


@pytest.mark.parametrize("limit", [200, 300, 500])
def test_little_memory(limit: int, tmp_path: Path) -> None:
    """A file that is larger than memory may be; it has no blocks on the disk."""
    big = tmp_path / "big.o"
    big.write_bytes(HELLO.read_bytes())
    os.truncate(big, 8 << 30)
    found = one_line(lskel("inspect", big, before=["prlimit", f"--as={limit << 20}"]))
    assert found.startswith(f"lskel: {big}: ")


@pytest.mark.parametrize("command", ["inspect", "frobnicate", "load"])
@pytest.mark.parametrize("stderr", ["2>/dev/full", "2>&-"])
def test_errors_that_nobody_reads(command: str, stderr: str) -> None:
    done = run("sh", "-c", f"{' '.join(LSKEL)} {command} /nowhere {stderr}")
    assert done.returncode == (2 if command == "frobnicate" else 1) and done.stdout == ""


# -- Ctrl-C ------------------------------------------------------------------------------------

# Sends the signal when a module is about to be imported.
INTERRUPTS = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ.get("AT"):
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(
    "module", ["lskel.cli", "click", "lskel.errors", "lskel.cli.inspect", "lskel.elf.reader"]
)
def test_interrupted_while_importing(module: str, tmp_path: Path) -> None:
    (tmp_path / "hook.py").write_text(INTERRUPTS)
    start = f"import hook, runpy, sys; sys.argv = ['lskel', 'inspect', {str(HELLO)!r}]"
    script = f"{start}; runpy.run_module('lskel', run_name='__main__', alter_sys=True)"
    path = f"{SOURCE}:{tmp_path}"
    environment = {"PYTHONPATH": path, "AT": module}
    done = run(sys.executable, "-c", script, environment=environment)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


# -- the working directory ---------------------------------------------------------------------

# Of the standard library and of what lskel uses; runpy itself has imported others before lskel is.
PLANTED = ("json", "struct", "click", "re", "typing", "enum", "errno", "ctypes", "rich")


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A directory where importing anything shows."""
    for name in (*PLANTED, "jinja2", "__future__", "lskel_version", "_version", "ast", "copy"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} was run')")
    return tmp_path


@pytest.mark.parametrize(
    "options", [(), ("-P",), ("-I",), ("-s",)], ids=["plain", "safe", "isolated", "no-user-site"]
)
def test_modules_of_the_working_directory(planted: Path, options: tuple[str, ...]) -> None:
    if options == ("-P",) and sys.version_info < (3, 11):
        lacking("-P is of Python 3.11")
    python = [sys.executable, *options, "-m", "lskel"]
    commands = (["--version"], ["inspect", HELLO], ["trace", HELLO], ["explain", HELLO, "--json"])
    for command in (*commands, ["gen", HELLO, "-o", planted / "x.h"]):
        done = run(*python, *command, cwd=planted)
        assert done.returncode == 0 and done.stderr == "", done.stderr


def test_what_users_put_into_the_path_stays(planted: Path) -> None:
    """Only what `-m` puts there goes."""
    path = f"{SOURCE}:{planted}"
    (planted / "colorama_of_mine.py").write_text("")
    show = "import sys, lskel.__main__ as m; print(sys.path.count(sys.argv[1]))"
    for options in ((), ("-P",))[: 2 if sys.version_info >= (3, 11) else 1]:
        done = run(
            *(sys.executable, *options, "-c", show, planted),
            environment={"PYTHONPATH": path},
            cwd=planted,
        )
        assert done.stdout == "1\n"


def test_no_working_directory(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'cd {gone} && rmdir {gone} && exec "$@"'
    done = run("sh", "-c", script, "-", *LSKEL, "inspect", HELLO)
    assert done.returncode == 0 and done.stderr == ""


# -- numbers -----------------------------------------------------------------------------------

NUMBERS = {
    "fail": f"trace {HELLO} --fail {MANY_DIGITS}=ENOMEM",
    "max-entries": f"load --replay simulator {HELLO} --max-entries hello.bss={MANY_DIGITS}",
    "set": f"load --replay simulator {example('syscount')} --set rodata.target_pid={MANY_DIGITS}",
    "target": f"load {EXECSNOOP} --target on_exec=id:{MANY_DIGITS}:f",
}


@pytest.mark.parametrize("words", NUMBERS.values(), ids=NUMBERS)
def test_many_digits(words: str) -> None:
    one_line(lskel(*words.split()))


def test_numbers_of_logs(tmp_path: Path) -> None:
    done = lskel("verifier-log", INPUTS / "log-int.log")
    assert done.returncode == 0 and done.stdout.startswith("error[") and done.stderr == ""
    log = tmp_path / "log"
    for old in re.findall(r"\d+", (INPUTS / "log-int.log").read_text())[:40]:
        text = (INPUTS / "log-int.log").read_text().replace(old, MANY_DIGITS, 1)
        log.write_text(text)
        status, _, err = in_process.run("verifier-log", log)
        assert status in (0, 1) and "internal error" not in err, err


# -- files that are none -----------------------------------------------------------------------


def test_pipes_are_read(tmp_path: Path) -> None:
    words = " ".join([*LSKEL, "inspect"])
    bash = shutil.which("bash") or "bash"
    expected = lskel("inspect", "--name", "x", HELLO).stdout
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for script in (
        f"{words} --name x <(cat {HELLO})",
        f"cat {HELLO} | {words} --name x -",
        f"cat {HELLO} | {words} --name x /dev/stdin",
        f"{words} --name x /dev/stdin < {HELLO}",
        f"{words} --name x /dev/fd/7 7< {HELLO}",
        f"{words} --name x <(sleep 1; cat {HELLO})",
        f"cat {HELLO} > {pipe} & sleep 1; {words} --name x {pipe}",
    ):
        done = run(bash, "-c", script)
        assert (done.stdout, done.stderr) == (expected, ""), script


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for source, what in (
        (pipe, "pipe has no writer"),
        (Path("/dev/zero"), "expected a file, got a device"),
        (tmp_path, "expected a file, got a directory"),
    ):
        for command in (("inspect",), ("trace", HELLO, "--btf"), ("verifier-log",)):
            found = one_line(lskel(*command, source))
            assert found == f"lskel: {source}: {what}"


# -- a machine that lacks something ------------------------------------------------------------


def without(directory: str) -> list[str]:
    """What starts a command with nothing in a directory."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        lacking("mounting needs root and unshare")
    return ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none {directory} && exec "$@"', "-"]


OF_A_MACHINE = (
    ("inspect", HELLO),
    ("trace", HELLO),
    ("load", HELLO),
    ("load", "--replay", "direct", EXECSNOOP),
    ("run", "--duration", "0", EXECSNOOP),
    ("doctor",),
    ("doctor", EXECSNOOP),
    ("explain", EXECSNOOP, "--measure", "-o", "/dev/stdout"),
)


@pytest.mark.kernel
@pytest.mark.parametrize("directory", ["/proc", "/sys", "/dev"])
def test_nothing_in(directory: str) -> None:
    for command in OF_A_MACHINE:
        if directory == "/proc" and "/dev/stdout" in command:
            continue  # which leads there
        if directory == "/dev" and "/dev/stdout" in command:
            command = (*command[:-1], "-")
        done = lskel(*command, before=without(directory))
        assert done.returncode in (0, 1, 2) and len(done.stderr.splitlines()) <= 1, done.stderr
        assert "internal error" not in done.stderr
        if done.returncode == 2 or done.stderr:
            assert one_line(done, done.returncode)


@pytest.mark.kernel
def test_no_dev_null_is_needed() -> None:
    assert lskel("load", HELLO, before=without("/dev")).returncode == 0


@pytest.mark.kernel
def test_few_fds() -> None:
    refused = 0
    for limit in range(5, 13):
        for command in OF_A_MACHINE[2:6]:
            done = lskel(*command, before=["prlimit", f"--nofile={limit}"])
            if done.stderr:
                refused += 1
                found = one_line(done, done.returncode)
                assert "Too many open files" in found and "ulimit -n" in found
                assert "5.14" not in found and "CONFIG_" not in found
    assert refused > 10


# Has bpf(2) answer as a kernel without it does.
WITHOUT_BPF = """
import ctypes, sys, lskel.runtime.syscall as syscall
from lskel.cli import main

def refuse(*_):
    ctypes.set_errno({number})
    return -1

syscall._libc_syscall = lambda: refuse
sys.exit(main({words!r}))
"""


@pytest.mark.parametrize(
    "words",
    [["load"], ["load", "--replay", "direct"], ["run"], ["doctor"], ["explain", "--measure"]],
    ids=" ".join,
)
def test_no_bpf(words: list[str], tmp_path: Path) -> None:
    last = ["-o", str(tmp_path / "x.html")] if words[0] == "explain" else []
    script = WITHOUT_BPF.format(number=errno.ENOSYS, words=[*words, str(HELLO), *last])
    done = run(sys.executable, "-c", script)
    assert done.returncode in (0, 1) and "internal error" not in done.stderr
    told = done.stderr or done.stdout
    if words[0] != "explain":
        assert "ENOSYS" in told and "5.14" not in told


def test_a_binary_that_is_no_file(tmp_path: Path) -> None:
    from lskel.errors import LskelError
    from lskel.runtime.attach.elf_symbols import ElfFile

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    for path in (str(pipe), "/dev/zero", "/dev/null", str(tmp_path)):
        with pytest.raises(LskelError, match=f"'{path}' is not a regular file"):
            ElfFile(path)
