"""lskel verifier-log"""

from __future__ import annotations

import click

from lskel.cli import completers
from lskel.cli.common import json_option
from lskel.cli.failures import log_lines
from lskel.cli.generation import Generation
from lskel.cli.sources import open_source, read
from lskel.cli.status import Status
from lskel.cli.terminal import line, print_json
from lskel.errors import at
from lskel.verifier.explain import explain
from lskel.verifier.explanation import to_json
from lskel.verifier.logs import logs_of
from lskel.verifier.render import render


@click.command("verifier-log")
@click.argument("log", metavar="FILE|-", shell_complete=completers.files)
@click.option(
    "--object",
    "source",
    metavar="OBJ|X.lskel",
    shell_complete=completers.files,
    help="The loaded object: it has source lines and names that the log lacks.",
)
@click.option(
    "--program",
    metavar="NAME",
    shell_complete=completers.names(completers.programs),
    help="Explain only the log of this program.",
)
@click.option("-v", "--verbose", is_flag=True, help="Also print the whole log.")
@json_option
def command(log: str, source: str | None, program: str | None, verbose: bool, as_json: bool) -> int:
    """Explain why the verifier rejected a program: the cause, the source line, what to change.

    Reads logs of all kernels, as printed by lskel, libbpf, bpftool, cilium/ebpf, aya, BCC and
    others, with their other output; - is standard input. Several logs are explained one by one.
    Exit status 0: each is explained; 1: one is truncated.

    \b
    Example:
        bpftool prog loadall tool.bpf.o /sys/fs/bpf/tool 2>&1 | lskel verifier-log -
        lskel verifier-log build.log --object tool.bpf.o
        lskel load tool.bpf.o --log-file log || lskel verifier-log log --json
    """
    text = read(log).decode("utf-8", "replace")
    with at(log):
        logs = logs_of(text, program)
    opened = None if source is None else open_source(source, Generation())
    with at(source or log):
        explanations = [
            explain(item.lines, program=item.program or program or "", source=opened)
            for item in logs
        ]
    lacks_end = any(not told.message and not told.whole for told in explanations)
    status = Status.FAILURE if lacks_end else Status.OK
    if as_json:
        print_json({"programs": [to_json(explanation) for explanation in explanations]})
        return status
    for number, (item, explanation) in enumerate(zip(logs, explanations, strict=True)):
        if number:
            line()
        for text in render(explanation):
            line(text)
        for text in log_lines(explanation.program, item.lines) if verbose else ():
            line(text)
    return status
