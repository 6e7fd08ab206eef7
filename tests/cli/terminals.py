"""Running lskel on a terminal, and what a terminal would show of its output."""

from __future__ import annotations

import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Sequence
from fcntl import ioctl
from pathlib import Path
from typing import NamedTuple

LSKEL = [sys.executable, "-m", "lskel"]
SGR = re.compile(r"\x1b\[[0-9;]*m")  # colours, bold and dim; other sequences move the cursor
_ROWS, _COLUMNS = 24, 100


class Screen(NamedTuple):
    """What a process wrote to its terminal, and its exit status."""

    raw: str
    status: int

    @property
    def is_styled(self) -> bool:
        return SGR.search(self.raw) is not None

    @property
    def lines(self) -> list[str]:
        """What is left standing when all is written."""
        screen, row, column = [""], 0, 0
        for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", SGR.sub("", self.raw)):
            if part == "\n":
                row += 1
                screen += [""] * (row + 1 - len(screen))
            elif part == "\r":
                column = 0
            elif part.endswith("A"):
                row -= int(part[2:-1])
            elif part == "\x1b[2K":
                screen[row] = ""
            elif part.startswith("\x1b"):
                assert part in ("\x1b[?25l", "\x1b[?25h"), part  # hides and shows the cursor
            else:
                screen[row] = screen[row][:column].ljust(column) + part
                column += len(part)
        return [line.rstrip() for line in screen if line.strip()]


def on_terminal(*args: str | Path, command: Sequence[str] = LSKEL, **environment: str) -> Screen:
    """Run lskel with a terminal for all of its standard streams."""
    child, terminal = pty.fork()
    if child == 0:
        for name in ("NO_COLOR", "FORCE_COLOR"):
            os.environ.pop(name, None)
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": str(_COLUMNS), **environment}
        os.execv(command[0], [*command, *map(str, args)])
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", _ROWS, _COLUMNS, 0, 0))
    output = bytearray()
    try:
        while part := os.read(terminal, 1 << 16):
            output += part
    except OSError:
        pass  # EIO: the other side is closed
    finally:
        os.close(terminal)
    _, status = os.waitpid(child, 0)
    return Screen(output.decode(), os.waitstatus_to_exitcode(status))
