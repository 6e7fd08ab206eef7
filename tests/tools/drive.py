"""The tools in Python: as their counterparts in C, with lskel's collections.

Standard library only, so that it also drives modules where lskel is not installed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

_TRACEPOINTS = Path("/sys/kernel/tracing/events/syscalls")
_GETPGID = 121  # of x86-64
_SOFTWARE, _PAGE_FAULTS = 1, 2
_MEMORY = 0x200000000


class Workload:
    """The process that a tool traces: stopped, until its events are caused."""

    def __init__(self, path: str, kind: str) -> None:
        self.path = path
        self._process = subprocess.Popen([path, kind])
        self.pid = self._process.pid
        self._wait_stopped()

    def _wait_stopped(self) -> None:
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), f"the workload ended: {status}"

    def cause(self) -> None:
        """Let it run until it is done."""
        os.kill(self.pid, signal.SIGCONT)
        self._wait_stopped()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


Tool = Callable[[Any, str, Workload], Iterator[str]]


def _stacks(bpf: Any, variant: str, work: Workload) -> Iterator[str]:
    bpf.maps.traces.value_size = int(variant) * 8
    bpf.maps.traces.max_entries = 1024
    bpf.rodata.wanted = work.pid
    bpf.attach()
    work.cause()
    for key, count in bpf.maps.counts.items():
        traces = (bpf.maps.traces[number] for number in (key.in_kernel, key.in_user))
        yield f"{count} " + " ".join(",".join(f"{at:x}" for at in trace) for trace in traces)


def _functions(bpf: Any, variant: str, work: Workload) -> Iterator[str]:
    function, by_fentry = "vfs_read", variant == "fentry"
    bpf.rodata.wanted = work.pid
    for program in bpf.progs:
        program.autoload = by_fentry == (program.name in ("on_fentry", "on_fexit"))
    if by_fentry:
        bpf.progs.on_fentry.target = bpf.progs.on_fexit.target = function
        bpf.attach()
    else:
        bpf.progs.on_kprobe.attach(function)
        bpf.progs.on_kretprobe.attach(function)
    work.cause()
    yield f"{bpf.bss.entered} {bpf.bss.returned} {bpf.bss.bytes}"
    for slot, count in enumerate(bpf.bss.sizes):
        yield f"{slot}: {count}"


def _uprobes(bpf: Any, variant: str, work: Workload) -> Iterator[str]:
    where = {"pid": work.pid} if variant == "one process" else {}
    bpf.rodata.wanted = work.pid
    bpf.progs.on_enter.attach_uprobe(work.path, "add", **where)
    bpf.progs.on_leave.attach_uprobe(work.path, "add", **where)
    work.cause()
    for call, count in bpf.maps.calls.items():
        yield f"{call.a} {call.b} {call.result}: {count}"


def _events(bpf: Any, variant: str, work: Workload) -> Iterator[str]:
    ring = variant == "ring buffer"
    bpf.rodata.wanted = work.pid
    bpf.rodata.has_ringbuf = ring
    if not ring:
        bpf.maps.events.type = "perf_event_array"
        bpf.maps.events.key_size = bpf.maps.events.value_size = 4
        bpf.maps.events.max_entries = 0
    bpf.attach()
    work.cause()
    for event in bpf.maps.events.consume():
        yield f"{event.number} {event.argument} {event.comm.decode()}"


def _usdt(bpf: Any, variant: str, work: Workload) -> Iterator[str]:
    bpf.progs.on_probe.attach(work.path, "tools", variant, pid=work.pid, cookie=0xC00C1E)
    work.cause()
    seen = bpf.bss.seen
    yield f"{seen.hits} {seen.cookie:x} {seen.count}"
    for number, (value, size) in enumerate(zip(seen.values, seen.sizes, strict=True)):
        yield f"{number}: {value} of {size}"


def _counts(bpf: Any, variant: str, work: Workload) -> Iterator[str]:
    counts = bpf.maps.counts
    counts.type = variant
    counts.max_entries = 8
    bpf.rodata.wanted = work.pid
    bpf.attach()
    work.cause()
    for key, count in counts.items():
        yield f"{key}: {sum(count) if 'percpu' in variant else count}"


def _nested(bpf: Any, variant: str, work: Workload) -> Iterator[str]:
    outer = bpf.maps.outer
    outer.max_entries = 5
    outer.inner_map.type = variant
    outer.inner_map.max_entries = 8
    bpf.rodata.wanted = work.pid
    bpf.load()
    with ExitStack() as stack:
        inner = {key: stack.enter_context(closing(outer.new())) for key in range(1, 6)}
        outer.update(inner)
        bpf.attach()
        work.cause()
        for key, counts in inner.items():
            for index, count in counts.items():
                yield f"{key} {index}: {count}"


def _parameters(bpf: Any, variant: str, work: Workload) -> Iterator[str]:
    bpf.rodata.wanted = work.pid
    bpf.rodata.number = _GETPGID
    bpf.rodata.last = 3
    bpf.data.tuned.least = 2
    bpf.data.tuned.step = 10
    bpf.maps.data_slots.value_size = 4 * 8
    bpf.progs.by_btf.autoload = variant == "tp_btf"
    bpf.progs.by_number.autoload = variant != "tp_btf"
    bpf.attach()
    work.cause()
    for slot, count in enumerate(bpf.data_slots.slots):
        yield f"{slot}: {count}"


def _returns(bpf: Any, variant: str, work: Workload) -> Iterator[str]:
    bpf.rodata.wanted = work.pid
    if variant == "maxactive":
        link = bpf.progs.on_return.attach(maxactive=120)
    else:
        bpf.attach()
        link = bpf.links.on_return
    work.cause()
    yield f"{bpf.bss.hits} {link.info().details['missed']}"


def _profile(bpf: Any, variant: str, work: Workload) -> Iterator[str]:
    bpf.rodata.wanted = work.pid
    bpf.rodata.start = _MEMORY
    bpf.rodata.end = _MEMORY + (64 << 12)
    where = {"pid": work.pid} if variant == "one process" else {}
    bpf.progs.on_fault.attach(_SOFTWARE, _PAGE_FAULTS, period=1, **where)
    work.cause()
    for page, count in bpf.maps.pages.items():
        yield f"{page}: {count}"


def _fallback(bpf: Any, variant: str, work: Workload) -> Iterator[str]:
    may = variant == "tracepoints"
    names = {"newer": "sys_enter_not_yet_there", "older": "sys_enter_getpgid"}
    found = [name for name, event in names.items() if may and (_TRACEPOINTS / event).exists()]
    chosen = (*found, "probe")[0]
    bpf.rodata.wanted = work.pid
    for program in bpf.progs:
        program.autoload = program.name == chosen
    bpf.attach()
    work.cause()
    yield f"{bpf.bss.by_newer} {bpf.bss.by_older} {bpf.bss.by_probe}"


def _many(bpf: Any, variant: str, work: Workload) -> Iterator[str]:
    cookies = {
        "__x64_sys_getpgid": 1000,
        "__x64_sys_getsid": 2000,
        "__x64_sys_getpriority": 1 << 40,
    }
    program = bpf.progs.on_any
    bpf.rodata.wanted = work.pid
    if variant == "one link":
        program.expected_attach_type = "trace_kprobe_multi"
        program.attach_kprobe_multi(list(cookies), cookies=list(cookies.values()))
    else:
        for name, cookie in cookies.items():
            program.attach(name, cookie=cookie)
    work.cause()
    for cookie, count in bpf.maps.counts.items():
        yield f"{cookie}: {count}"


class Use(NamedTuple):
    """How a tool is driven: the events that it is for, and the variants of its use."""

    drive: Tool
    workload: str
    variants: tuple[str, ...]


USES = {
    "stacks": Use(_stacks, "stacks", ("127", "2")),
    "functions": Use(_functions, "files", ("fentry", "kprobes")),
    "uprobes": Use(_uprobes, "additions", ("one process", "all processes")),
    "events": Use(_events, "calls", ("ring buffer", "perf buffer")),
    "usdt": Use(_usdt, "probes", ("indexed", "guarded")),
    "counts": Use(_counts, "calls", ("hash", "lru_hash", "percpu_hash", "array", "percpu_array")),
    "nested": Use(_nested, "calls", ("array", "hash")),
    "parameters": Use(_parameters, "calls", ("tp_btf", "raw_tp")),
    "returns": Use(_returns, "sleepers", ("default", "maxactive")),
    "profile": Use(_profile, "faults", ("one process", "all processes")),
    "fallback": Use(_fallback, "calls", ("tracepoints", "probes")),
    "many": Use(_many, "calls", ("one link", "one each")),
}


def class_name(name: str) -> str:
    """The class of a tool's module."""
    return f"{name.capitalize()}Tool"


# By tool and variant, the lines that it prints, in order; or why it prints none.
Printed = dict[str, list[str]]


def printed(open_tool: Callable[[str], Any], workload: str) -> Printed:
    """What all variants of the tools print, with what opens a tool."""
    return {
        f"{name}, {variant}": _lines(use, variant, open_tool, name, workload)
        for name, use in USES.items()
        for variant in use.variants
    }


def _lines(
    use: Use, variant: str, open_tool: Callable[[str], Any], name: str, path: str
) -> list[str]:
    work = Workload(path, use.workload)
    try:
        with open_tool(name) as bpf:
            return sorted(use.drive(bpf, variant, work))
    except Exception:  # noqa: BLE001 - it is compared
        return traceback.format_exc().splitlines()
    finally:
        work.end()


def main(directory: str, workload: str) -> None:
    """Drive the modules in a directory, and print what they print, as JSON."""
    import importlib
    import json

    sys.path.insert(0, directory)

    def open_module(name: str) -> Any:
        return getattr(importlib.import_module(f"{name}_lskel"), class_name(name))()

    print(json.dumps(printed(open_module, workload)))


if __name__ == "__main__":
    main(*sys.argv[1:])
