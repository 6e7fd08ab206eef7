"""Real shells on a terminal: a line is typed with tabs in it, and then shown instead of run."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import struct
import termios
import time
from collections.abc import Sequence
from fcntl import ioctl
from pathlib import Path
from typing import NamedTuple

_READY, _DONE = "<<ready>>", "<<done>>"
_PATIENCE = 60


class Shell(NamedTuple):
    """How a shell is started without its users' files, and what it is told first."""

    name: str
    options: tuple[str, ...]
    setup: str


BASH = Shell(
    "bash",
    ("--norc", "--noprofile", "-i"),
    "bind 'set show-all-if-ambiguous on' 'set page-completions off' 'set bell-style none'; "
    "bind 'set enable-bracketed-paste off' 'set completion-query-items -1'; PS1='$ ' ",
)
ZSH = Shell(
    "zsh",
    ("-f", "-i"),
    "bindkey -e; unsetopt beep zle_bracketed_paste; LISTMAX=1000 PS1='$ ' PROMPT_EOL_MARK= ",
)


class Typed(NamedTuple):
    """What became of a line: its words, and all that the shell showed meanwhile."""

    words: list[str]
    shown: str


def type_lines(
    shell: Shell, setup: str, lines: Sequence[str], path: Path, directory: Path
) -> list[Typed]:
    """Type lines in a shell that has run `setup`; `path` is in front of PATH."""
    program = shutil.which(shell.name)
    assert program is not None
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(directory)
        environment = {
            "PATH": f"{path}:{os.environ['PATH']}",
            "HOME": str(directory),
            "TERM": "xterm",
            "LC_ALL": "C.UTF-8",
        }
        os.execve(program, [program, *shell.options], environment)
    try:
        ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 50, 250, 0, 0))
        # Quoted in two parts, so that the echo of what is typed is not taken for it.
        os.write(terminal, f"{shell.setup}; {setup}; echo '<<'ready'>>'\r".encode())
        _read(terminal, _READY)
        typed = []
        for line in lines:
            # What shows the words goes to the line's start (Ctrl-A) and end (Ctrl-E).
            os.write(terminal, f"{line}\x01printf '<%s>' \x05 '<'done'>'\r".encode())
            shown = _read(terminal, _DONE)
            found = re.search(rf"((<[^<>]*>)+){_DONE}", shown)
            assert found is not None, shown
            typed.append(Typed(re.findall("<([^<>]*)>", found[1]), shown))
        return typed
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


def _read(terminal: int, until: str) -> str:
    """What the terminal shows up to and with a text."""
    output, end = "", time.monotonic() + _PATIENCE
    while until not in output:
        assert select.select([terminal], [], [], max(0, end - time.monotonic()))[0], output
        output += os.read(terminal, 1 << 16).decode(errors="replace")
        output = re.sub(r"\x1b(\[[?0-9;]*[A-Za-z]|[=>])", "", output)
    return output
