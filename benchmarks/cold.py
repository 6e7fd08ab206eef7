"""Time and memory of whole processes that load an object."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import lskel
from benchmarks.cprograms import Programs
from benchmarks.measure import alternate, figure, ratio, rounded
from benchmarks.objects import real
from benchmarks.report import table
from lskel.loader.generate import AUTO
from lskel.loader.model import Form
from lskel.skeleton.python import generate_python

_BY_LSKEL = """
import sys
import lskel
lskel.load(sys.argv[1]).load().close()
"""

# The example hello in BCC's dialect of C.
_BY_BCC = """
from bcc import BPF
BPF(text='''
BPF_ARRAY(calls, u64, 1);
RAW_TRACEPOINT_PROBE(sys_enter)
{
    int key = 0;
    u64 *value = calls.lookup(&key);
    if (value)
        __sync_fetch_and_add(value, 1);
    return 0;
}
''').load_func("raw_tracepoint__sys_enter", BPF.RAW_TRACEPOINT)
"""
_SYSTEM_PYTHON = "/usr/bin/python3"


def cold(scratch: Path, rounds: int) -> Iterator[str]:
    """A new process that loads once."""
    yield "## A process that loads once"
    yield ""
    yield (
        "From the start of the process to its end, with everything closed. *Python* is "
        "`python -c pass`, the floor. A skeleton is one script, which Python compiles each time. "
        "BCC compiles a program like hello, if it is installed (Debian's python3-bpfcc, and "
        "kernel headers at BCC_KERNEL_SOURCE). "
        f"Memory is the peak resident set size. {rounds} rounds."
    )
    yield ""
    programs = Programs(scratch)
    rows = []
    for name in ("hello", "test_tunnel_kern"):
        commands = _commands(name, real()[name], programs, scratch)
        jobs = {way: partial(programs.process, command) for way, command in commands.items()}
        found = alternate(jobs, rounds)
        times = {way: [p.seconds for p in processes] for way, processes in found.items()}
        for way, processes in found.items():
            memory = statistics.median(process.kilobytes for process in processes)
            rows.append(
                (
                    name,
                    way,
                    f"{ratio(times[way], times['C, libbpf']):.1f}",
                    f"{ratio(times[way], times['Python']):.2f}",
                    figure(times[way]).text(),
                    f"{rounded(memory / 1024)} MB",
                )
            )
    yield from table(("object", "process", "to libbpf's", "to the floor", "time", "memory"), rows)


def _commands(
    name: str, path: Path, programs: Programs, scratch: Path
) -> Mapping[str, Sequence[str]]:
    libbpf = programs.libbpf(path)
    commands: dict[str, Sequence[str]] = {
        "C, libbpf": [str(libbpf.program), "1", *libbpf.arguments],
        "Python": [sys.executable, "-c", "pass"],
    }
    for form in Form:
        bundle = scratch / f"{name}.{form.value}.lskel"
        lskel.generate(lskel.open_object(path), form).save(bundle)
        of = f"of the {form.value} loader"
        commands[f"Python, `lskel.load` {of}"] = [sys.executable, "-c", _BY_LSKEL, str(bundle)]
        commands[f"`lskel load` {of}"] = [sys.executable, "-m", "lskel", "load", str(bundle)]
    for what in ("load", "attach"):
        script = scratch / f"{name}_{what}.py"
        text = generate_python(lskel.generate(lskel.open_object(path), AUTO), "Skeleton_")
        script.write_text(f"{text}\nwith Skeleton_() as skel:\n    skel.{what}()\n")
        if what == "load" or name == "hello":
            commands[f"Python skeleton, one file: {what}"] = [sys.executable, str(script)]
    by_bcc = [_SYSTEM_PYTHON, "-c", _BY_BCC]
    if name == "hello" and _works(by_bcc, programs):
        commands["Python, BCC"] = by_bcc
    return commands


def _works(command: Sequence[str], programs: Programs) -> bool:
    try:
        programs.process(command)
    except subprocess.CalledProcessError:
        return False
    return True
