"""The command line: one file a command, imported when it is run; no logic of its own."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from lskel._version import __version__
from lskel.cli.common import TYPED, show_error
from lskel.cli.status import FAILURES, Status, Terminated, meanings
from lskel.cli.terminal import colour
from lskel.errors import LskelError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# name: what it does, in the list of commands. Each is module lskel.cli.NAME (with _ for -),
# function `command`.
COMMANDS = {
    "gen": "Write a loader bundle for a BPF object.",
    "load": "Load an object or bundle and report what is loaded.",
    "run": "Load, attach, stream events, and print the maps at the end.",
    "trace": "Replay in the simulator and print each system call.",
    "diff": "Compare what two loaders do.",
    "inspect": "Show maps, programs, externs, sections and sizes.",
    "explain": "Write a page that shows all of an object or loader.",
    "disasm": "Show instructions with names and source lines.",
    "verifier-log": "Explain why a verifier refused a program.",
    "doctor": "Say what this machine allows, and whether an object would load.",
    "completion": "Print the script that completes commands in a shell.",
}


# What it is made with; their versions are told with its own.
_USES = ("click", "jinja2", "pyelftools", "rich")


class _Commands(click.Group):
    """Lists all commands and imports only the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
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
    click.echo(f"lskel, version {__version__}")
    click.echo(f"Python {python_version()} on {system()} {release()} {machine()}; {uses}")
    ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version, and what a report of a bug should say, and exit.",
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Light skeletons for eBPF: turn a BPF object into one loader program, and run it."""
    ctx.color = colour()


def main(args: list[str] | None = None) -> int:
    """Run a command; its exit status, see lskel.cli.status."""
    # Importing makes thousands of objects that all stay; looking for garbage among them takes time.
    gc.disable()
    words = sys.argv[1:] if args is None else args
    failure = FAILURES.get(words[0] if words else "", Status.FAILURE)
    if sys.stdout is None:  # closed; what writes to this is told so
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    try:
        if (typed := os.environ.get(TYPED)) is not None:
            from lskel.cli.completion import answer

            answer(cli, typed)
            return Status.OK
        # Not by `main` of click: it has exit statuses of its own.
        with cli.make_context("lskel", list(words)) as ctx:
            status: Any = cli.invoke(ctx)
        sys.stdout.flush()
        return int(status or Status.OK)
    except LskelError as error:
        show_error(error)
        return failure
    except click.exceptions.Exit as done:  # --help, --version
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Terminated:
        return Status.TERMINATED
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    except BrokenPipeError:
        _close_output()  # whoever read it has gone
        return Status.BROKEN_PIPE
    except OSError as error:
        # Of output alone: what reads inputs and calls the kernel raises LskelError.
        click.echo(f"lskel: standard output: {error.strerror or 'it is closed'}", err=True)
        _close_output()
        return failure


def _close_output() -> None:
    """Keep the interpreter from complaining at exit that it cannot write what is left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
