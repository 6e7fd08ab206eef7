"""Whether the commands of lskel in a line of shell take the options that they are given there."""

from __future__ import annotations

import shlex
from itertools import groupby

import click

from lskel.cli import cli

_PUNCTUATION = frozenset("();<>|&")


def check_options(line: str) -> None:
    """Raises what click does where a command, an argument or an option is wrong."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    for is_between, group in groupby(words, lambda word: set(word) <= _PUNCTUATION):
        program, *args = group
        if not is_between and program == "lskel":
            name = args[0]
            command = cli.get_command(click.Context(cli), name)
            assert command is not None, f"{line}: no command '{name}'"
            command.make_context(name, args[1:])
