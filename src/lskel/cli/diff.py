"""lskel diff"""

from __future__ import annotations

import click

from lskel.cli.common import json_option, name_option, print_json, simulate_source
from lskel.loader.model import Form
from lskel.replay.compare import describe, differences


@click.command("diff")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@name_option
@json_option
def command(a: str, b: str, name: str | None, as_json: bool) -> int:
    """Compare what two loaders do: objects, bundles, or light skeleton headers.

    Both are replayed in the simulator. Exit status 0 where they make the same calls, 1 where they
    differ. Numbers of file descriptors and addresses do not count: an fd stands for its object,
    a pointer for the bytes behind it.

    \b
    Example:
        bpftool gen skeleton -L hello.bpf.o name hello > hello.lskel.h
        lskel diff hello.lskel.h hello.bpf.o
    """
    form = Form.UNROLLED.value
    replays = [simulate_source(source, name, form) for source in (a, b)]
    found = list(differences(replays[0].records, replays[1].records))
    if as_json:
        print_json(
            [
                {
                    "a": None if d.a is None else {"n": d.a.n, "call": describe(d.a)},
                    "b": None if d.b is None else {"n": d.b.n, "call": describe(d.b)},
                    "field": d.field,
                    "text": str(d),
                }
                for d in found
            ]
        )
    elif not found:
        click.echo(f"the same {len(replays[0].records)} calls")
    for difference in () if as_json else found:
        click.echo(str(difference))
    return 1 if found else 0
