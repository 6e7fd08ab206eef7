"""lskel trace"""

from __future__ import annotations

import errno

import click

from lskel.btf.btf import Btf
from lskel.cli import completers
from lskel.cli.common import json_option, pairs
from lskel.cli.generation import Generation, generation_options
from lskel.cli.run_options import simulation_options
from lskel.cli.sources import read, simulate
from lskel.cli.terminal import line, print_json
from lskel.errors import UsageError, at
from lskel.replay.options import Options
from lskel.replay.simulator.faults import Faults
from lskel.replay.simulator.names import KernelImage
from lskel.replay.strace import lines, to_json

# More than the calls of any replay.
_DIGITS = 9


@click.command("trace")
@click.argument("source", metavar="OBJ|X.lskel|X.lskel.h", shell_complete=completers.files)
@click.option(
    "--btf",
    metavar="FILE",
    shell_complete=completers.files,
    help="Resolve kernel names with this BTF only [default: every name is found].",
)
@click.option(
    "--fail",
    "failures",
    multiple=True,
    metavar="N=ERRNO",
    help="Make call number N fail, with an errno such as ENOMEM.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show bytes and instructions.")
@generation_options
@simulation_options
@json_option
def command(
    source: str,
    btf: str | None,
    failures: tuple[str, ...],
    verbose: bool,
    generation: Generation,
    options: Options,
    as_json: bool,
) -> None:
    """Replay a loader in the simulator and print each system call, like strace.

    Needs no privileges and no Linux. Also reads light skeleton headers (`bpftool gen skeleton -L`).

    \b
    Example:
        lskel trace hello.bpf.o
        lskel trace tool.lskel.h --json
        lskel trace hello.bpf.o --btf /sys/kernel/btf/vmlinux --fail 3=ENOMEM
        lskel trace probe.lskel --target on_call=do_unlinkat --kconfig CONFIG_HZ=1000
    """
    replay = simulate(
        read(source),
        source,
        generation,
        options,
        names=_names(btf),
        faults=_faults(failures),
    )
    if as_json:
        print_json([to_json(record) for record in replay.records])
    else:
        for record in replay.records:
            for text in lines(record, replay.kernel.order, verbose=verbose):
                line(text)
        for text in replay.printed:
            line(f"trace_printk: {text}")
    replay.check(source)


def _names(path: str | None) -> KernelImage | None:
    if path is None:
        return None
    data = read(path)
    with at(path):
        return KernelImage(Btf(data))


def _faults(failures: tuple[str, ...]) -> Faults:
    calls = {}
    for number, name in pairs(failures, "N=ERRNO").items():
        code = getattr(errno, name, None)
        if not number.isdecimal() or len(number) > _DIGITS or not isinstance(code, int):
            raise UsageError(f"expected N=ERRNO, got '{number}={name}'", hint="such as 3=ENOMEM")
        calls[int(number)] = code
    return Faults(calls=calls)
