"""lskel diff"""

from __future__ import annotations

import click

from lskel.cli import completers
from lskel.cli.common import json_option
from lskel.cli.generation import Generation, generation_options
from lskel.cli.run_options import simulation_options
from lskel.cli.sources import applicable, kind_of, read, simulate
from lskel.cli.status import DIFFERENT, Status
from lskel.cli.terminal import line, print_json
from lskel.replay.compare import describe, differences
from lskel.replay.options import Options


@click.command("diff")
@click.argument("a", metavar="A", shell_complete=completers.files)
@click.argument("b", metavar="B", shell_complete=completers.files)
@generation_options
@simulation_options
@json_option
def command(a: str, b: str, generation: Generation, options: Options, as_json: bool) -> int:
    """Compare what two loaders do: objects, bundles, or light skeleton headers.

    Both are replayed in the simulator. Exit status 0: they make the same calls; 1: they differ; 2:
    an error. File descriptor numbers and addresses are ignored: an fd is compared by its object, a
    pointer by the bytes it points to. Options for generating a loader apply to objects, the others
    to objects and bundles.

    \b
    Example:
        bpftool gen skeleton -L hello.bpf.o name hello > hello.lskel.h
        lskel diff hello.lskel.h hello.bpf.o
    """
    files = [(read(source), source) for source in (a, b)]
    kinds = [kind_of(data) for data, _ in files]
    replays = [
        simulate(data, source, *applicable(kind, kinds, generation, options))
        for (data, source), kind in zip(files, kinds, strict=True)
    ]
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
        line(f"the same {len(replays[0].records)} calls")
    for difference in () if as_json else found:
        line(str(difference))
    return DIFFERENT if found else Status.OK
