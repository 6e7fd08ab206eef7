"""The command line: one file per command, imported when the command runs; no logic."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lskel._version import __version__
from lskel.cli.common import TYPED
from lskel.cli.status import FAILURES, Status, Terminated, meanings
from lskel.cli.streams import OutputError, standard_output
from lskel.cli.terminal import line, note, show_error
from lskel.errors import LskelError, interpreter_error, printable, remedy
from lskel.interrupt import ends_at_once

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# name: summary in the list of commands. Each command is function `command` of module
# lskel.cli.NAME (with _ for -).
COMMANDS = {
    "gen": "Write a loader bundle for a BPF object.",
    "load": "Load an object or bundle and report what is loaded.",
    "run": "Load, attach, print events, and print the maps at the end.",
    "trace": "Replay in the simulator and print each system call.",
    "diff": "Compare what two loaders do.",
    "inspect": "Show maps, programs, externs, sections and sizes.",
    "explain": "Write an HTML page that shows all of an object or loader.",
    "disasm": "Show instructions with names and source lines.",
    "verifier-log": "Explain why the verifier rejected a program.",
    "doctor": "Check what this machine supports and if an object would load.",
    "completion": "Print the shell completion script.",
}


# If set, an internal error is printed with its traceback.
_DEBUG = "LSKEL_DEBUG"

# Dependencies whose versions --version prints.
_USES = ("click", "jinja2", "rich")


class _Commands(click.Group):
    """Lists all commands, but imports only the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        with ends_at_once():
            module = import_module(f"lskel.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        begun = [name for name in COMMANDS if name.startswith(incomplete)]
        items = [CompletionItem(name, help=COMMANDS[name]) for name in begun]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit status"):
            formatter.write_dl([(str(int(status)), text) for status, text in meanings().items()])


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import version
    from platform import machine, python_version, release, system

    uses = ", ".join(f"{name} {version(name)}" for name in _USES)
    line(f"lskel, version {__version__}")
    line(f"Python {python_version()} on {system()} {release()} {machine()}; {uses}")
    ctx.exit()


# terminal.py decides about colours.
_SETTINGS = {"help_option_names": ["-h", "--help"], "color": True}


@click.group(cls=_Commands, context_settings=_SETTINGS)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and what a bug report should include, and exit.",
)
def cli() -> None:
    """Light skeletons for eBPF: turn a BPF object into one loader program, and run it."""


def main(args: list[str] | None = None) -> int:
    """Run a command and return its exit status (lskel.cli.status)."""
    # Imports allocate thousands of permanent objects; garbage collection would only cost time.
    gc.disable()
    words = sys.argv[1:] if args is None else args
    command = words[0] if words else ""
    failure = FAILURES.get(command, Status.FAILURE)
    try:
        with standard_output():
            return _run(words)
    except click.ClickException as error:
        _show_usage(error, words)
        return error.exit_code
    except Terminated:
        return Status.TERMINATED
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    except OutputError as error:
        if error.errno == errno.EPIPE:  # the reader is gone
            return Status.BROKEN_PIPE
        told = f"lskel: {error}"
    except LskelError as error:
        show_error(error)
        return failure
    except (MemoryError, RecursionError) as error:
        told = f"lskel: {command}: {interpreter_error(error)}"
    except OSError as error:
        told = f"lskel: {_of_system(error, command)}"
    except Exception as error:  # noqa: BLE001 - a bug
        told, failure = _bug(error), Status.INTERNAL
    # Outside the except block: the error keeps the command's data in memory.
    note(told)
    return failure


def _run(words: list[str]) -> int:
    if (typed := os.environ.get(TYPED)) is not None:
        from lskel.cli.completion import answer

        answer(cli, typed)
        return Status.OK
    try:
        # Not by click's `main`, which has its own exit statuses.
        with cli.make_context("lskel", list(words)) as ctx:
            status: Any = cli.invoke(ctx)
    except click.exceptions.Exit as done:  # --help, --version
        return done.exit_code
    return int(status or Status.OK)


def _show_usage(error: click.ClickException, words: list[str]) -> None:
    """Print click's message for a wrong command line; for an empty one, the help."""
    shown = io.StringIO()
    error.show(shown)
    text = shown.getvalue()
    if words:  # the message repeats arguments, which may contain newlines
        text = text.replace(error.message, printable(error.message))
    for said in text.split("\n")[:-1]:
        note(said.expandtabs())


def _of_system(error: OSError, command: str) -> LskelError:
    what = error.filename if isinstance(error.filename, str) else command
    return LskelError(f"{what}: {error.strerror or error}", hint=remedy(error.errno or 0))


def _bug(error: Exception) -> str:
    """The message for an internal error; prints its traceback if requested."""
    if os.environ.get(_DEBUG):
        import traceback

        for text in "".join(traceback.format_exception(error)).splitlines():
            note(text)
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    at = f" at {Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}" if last else ""
    what = f"{type(error).__name__}{at}: {error}"
    hint = f"a bug: report it with the input; {_DEBUG}=1 prints the traceback"
    return f"lskel: internal error: {what} ({hint})"
