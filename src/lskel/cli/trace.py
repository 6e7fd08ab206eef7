"""lskel trace"""

from __future__ import annotations

import click

from lskel.cli.common import form_option, json_option, name_option, print_json, simulate_source
from lskel.replay.strace import lines, to_json


@click.command("trace")
@click.argument("source", metavar="OBJ|X.lskel|X.lskel.h")
@form_option
@name_option
@click.option("-v", "--verbose", is_flag=True, help="Show bytes and instructions.")
@json_option
def command(source: str, form: str, name: str | None, verbose: bool, as_json: bool) -> None:
    """Replay a loader in the simulator and print each call that it makes, as strace would.

    Needs no privilege and no Linux. Reads light skeleton headers of `bpftool gen skeleton -L` too.

    \b
    Example:
        lskel trace hello.bpf.o
        lskel trace tool.lskel.h --json
    """
    replay = simulate_source(source, name, form)
    if as_json:
        print_json([to_json(record) for record in replay.records])
    else:
        for record in replay.records:
            for line in lines(record, replay.kernel.order, verbose=verbose):
                click.echo(line)
    replay.check(source)
