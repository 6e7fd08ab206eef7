"""The command line: one file a command, imported when it is run; no logic of its own."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import Any

import click

from lskel._version import __version__
from lskel.errors import LskelError

# name: what it does, in the list of commands. Each is module lskel.cli.NAME, function `command`.
COMMANDS = {
    "gen": "Write a loader bundle for a BPF object.",
    "load": "Load an object or bundle and report what is loaded.",
    "run": "Load, attach, stream events, and print the maps at the end.",
    "trace": "Replay in the simulator and print each system call.",
    "diff": "Compare what two loaders do.",
    "inspect": "Show maps, programs, externs, sections and sizes.",
    "explain": "Write a page that shows all of an object or loader.",
    "disasm": "Show instructions with names and source lines.",
}


class _Commands(click.Group):
    """Lists all commands and imports only the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"lskel.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lskel")
def cli() -> None:
    """Light skeletons for eBPF: turn a BPF object into one loader program, and run it."""


def main(args: list[str] | None = None) -> int:
    """Run a command; the exit status: 0, 1 on an error, 2 on wrong usage, 130 on Ctrl-C."""
    # Importing makes thousands of objects that all stay; looking for garbage among them takes time.
    gc.disable()
    try:
        status: Any = cli.main(args, prog_name="lskel", standalone_mode=False)
        return int(status or 0)
    except LskelError as error:
        click.echo(f"lskel: {error}", err=True)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        # Of output alone: what reads inputs and calls the kernel raises LskelError.
        click.echo(f"lskel: standard output: {error.strerror}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
