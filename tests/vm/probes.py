"""What attached programs do in a machine where not all is well, as jobs."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lskel
from lskel.bpf.enums import MapType, ProgType
from lskel.btf.types import Func
from lskel.errors import LskelError
from lskel.runtime.attach.functions import traceable_functions
from lskel.runtime.attach.tracefs import read_tracefs
from lskel.runtime.cpus import online_cpus, possible_cpus
from lskel.runtime.kernel_btf import KernelBtf
from lskel.runtime.perfbuf import PerfBuffer
from lskel.skeleton.dynamic import DynamicCollection
from tests.attach.tracefs import mounted_tracefs
from tests.runtime.programs import create_map, load_program, outputs_to_perf, run_program

SLEEPERS = 60
_SLEEP = "do_nanosleep"
_CPU = Path("/sys/devices/system/cpu/cpu1/online")


# -- return probes --------------------------------------------------------------------------------


def return_probes(bundle: str) -> dict[str, tuple[int, int | None]]:
    """Attach to the returns of a function that many threads are in; runs, and runs missed."""
    with mounted_tracefs(), lskel.load(bundle, variables={"bss.wanted": os.getpid()}) as bpf:
        return {
            "default": _sleep(bpf, 0),
            "maxactive": _sleep(bpf, 2 * SLEEPERS),
            "few": _sleep(bpf, 5),
        }


def _sleep(bpf: DynamicCollection, maxactive: int) -> tuple[int, int | None]:
    before = bpf.bss.hits
    with bpf.progs.on_return.attach(_SLEEP, maxactive=maxactive) as link:
        threads = [threading.Thread(target=time.sleep, args=(2,)) for _ in range(SLEEPERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return bpf.bss.hits - before, link.info().details.get("missed")


def abandoned_events(bundle: str) -> list[int]:
    """Events of lskel's: of a process, after it is killed, with another one's link, and without."""
    with mounted_tracefs(), lskel.load(bundle) as bpf:
        program = bpf.progs.on_return
        program.fileno()
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            kept = program.attach(_SLEEP, maxactive=7)
            os.write(write, b"x")
            signal.pause()
            del kept
        os.read(read, 1)
        counts = [_events()]
        with program.attach(_SLEEP, maxactive=8):  # an event that is in use stays
            counts.append(_events())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        counts.append(_events())
        with program.attach(_SLEEP, maxactive=8):
            counts.append(_events())
        return [*counts, _events()]


def _events() -> int:
    return read_tracefs("kprobe_events", "kprobe events").count(":lskel/")


# -- functions that are busy ----------------------------------------------------------------------


def busy(bundle: str) -> dict[str, str]:
    """What is said where a function takes no program: twice, and where it is not traceable."""
    with mounted_tracefs():
        said = {"twice": _error(bundle, "security_task_getsid", twice=True)}
        for name in _not_traceable():
            error = _error(bundle, name, twice=False)
            if "EBUSY" in error:
                return said | {"function": name, "not traceable": error}
    return said


def _error(bundle: str, function: str, *, twice: bool) -> str:
    try:
        with lskel.load(bundle, targets={"on_any": function}) as bpf:
            program = bpf.progs.on_any
            with program.attach():
                if twice:
                    program.attach()
    except LskelError as error:
        return str(error)
    return ""


def _not_traceable() -> list[str]:
    """Functions of the kernel's BTF that ftrace does not have."""
    traceable = set(traceable_functions())
    symbols = {line.split()[2] for line in Path("/proc/kallsyms").read_text().splitlines()}
    btf = KernelBtf().vmlinux
    names = [found.name for _, found in btf if isinstance(found, Func)]
    return [name for name in names if name in symbols and name not in traceable][:200]


# -- CPUs -----------------------------------------------------------------------------------------


def cpus_that_come(times: int) -> dict[str, Any]:
    """A perf buffer while CPU 1 comes, goes and comes back; the numbers of its samples."""
    assert online_cpus() == (0,), online_cpus()
    with ExitStack() as stack:
        array = stack.enter_context(
            create_map(MapType.PERF_EVENT_ARRAY, 4, 4, len(possible_cpus()))
        )
        program = stack.enter_context(
            load_program(ProgType.RAW_TRACEPOINT, outputs_to_perf(array.fileno(), 4))
        )
        buffer = stack.enter_context(PerfBuffer(array.fileno()))
        stack.callback(_CPU.write_text, "0")

        def output(number: int, cpu: int) -> int:
            return run_program(program, number.to_bytes(8, sys.byteorder), cpu=cpu)

        def numbers() -> list[tuple[int, int]]:
            return [(cpu, int.from_bytes(data, sys.byteorder)) for cpu, data in buffer.consume()]

        found: dict[str, Any] = {}
        _CPU.write_text("1")
        buffer.poll(0)
        output(1, 1)
        output(2, 0)
        found["came"] = numbers()
        output(3, 1)
        for _ in range(times):
            _CPU.write_text("0")
            _CPU.write_text("1")
        buffer.poll(0)
        output(4, 1)
        found["came back"] = numbers()
        thread = threading.Timer(0.5, output, (5, 1))
        thread.start()
        found["waited"] = [buffer.poll(20), numbers()]
        thread.join()
        fds = _fds()
        _CPU.write_text("0")
        _CPU.write_text("1")
        buffer.poll(0)
        found["fds are closed"] = _fds() == fds
        return found


def _fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
