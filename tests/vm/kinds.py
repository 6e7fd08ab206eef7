"""Links that lskel makes, and those that libbpf makes of the same object, as jobs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lskel
from lskel.btf.types import Func, TypeId
from lskel.errors import LskelError
from lskel.runtime.attach.binaries import find_binary
from lskel.runtime.attach.iterator import CgroupOrder
from lskel.runtime.attach.link import BpfLink
from lskel.runtime.attach.tracing_multi import attach_tracing_multi, matching_ids
from lskel.runtime.kernel_btf import KernelBtf
from tests.attach.tracefs import mounted_tracefs
from tests.runtime.namespaces import cgroup

_PINS = Path("/sys/fs/bpf/libbpf")
MODULE = "dummy"  # an interface that drops all packets
LIBRARY, FUNCTION = "libc.so.6", "getloadavg"


def links(bundle: str, source: str, bpftool: list[str]) -> dict[str, list[dict[str, Any]]]:
    """What the kernel says of each program's link, made by lskel, and by libbpf."""
    subprocess.run(["modprobe", MODULE], check=True)
    with mounted_tracefs(), lskel.load(bundle) as bpf:
        ours = {program.name: program.attach().info() for program in bpf.progs}
    with mounted_tracefs():
        command = [*bpftool, "prog", "loadall", source, str(_PINS), "autoattach"]
        subprocess.run(command, check=True, capture_output=True)
        found = {}
        for name, info in ours.items():
            with BpfLink.open(_PINS / name) as link:
                its = link.info()
            found[name] = [{"type": one.type, **one.details} for one in (info, its)]
        return found


def cookies(bundle: str, chosen: dict[str, bool], cookie: int) -> dict[str, object]:
    """What the kernel says of the cookies of the chosen programs."""
    with mounted_tracefs(), lskel.load(bundle, autoload=chosen) as bpf:
        names = [name for name, is_chosen in chosen.items() if is_chosen]
        links = {name: bpf.progs[name].attach(cookie=cookie) for name in names}
        return {name: link.info().details.get("cookie") for name, link in links.items()}


def functions_of_a_module(bundle: str, source: str, bpftool: list[str]) -> dict[str, Any]:
    """Attach to all functions of a module, and make an interface of it.

    The functions' names, how often the program ran, and what libbpf says of the same object.
    """
    subprocess.run(["modprobe", MODULE], check=True)
    with mounted_tracefs(), lskel.load(bundle) as bpf:
        program = next(iter(bpf.progs))
        with program.attach() as link:
            command = ["ip", "link", "add", "lskel0", "type", MODULE]
            subprocess.run(command, check=True)
            hits = bpf.bss.hits
            ids = link.info().details["ids"]
        subprocess.run(["ip", "link", "del", "lskel0"], check=True)
        other = _refusal(lambda: program.attach("nosuch:f*"))
        nothing = _refusal(lambda: program.attach("nosuch*"))
        after = bpf.bss.hits
    kernel = KernelBtf()
    with kernel.module(MODULE) as fd:
        btf = kernel.of_module(fd)
    command = [*bpftool, "prog", "loadall", source, str(_PINS), "autoattach"]
    its = subprocess.run(command, check=False, capture_output=True, text=True)
    assert isinstance(ids, tuple)
    return {
        "functions": sorted(btf.get(TypeId(number), Func).name for number in ids),
        "hits": hits,
        "after": after - hits,
        "other": other,
        "nothing": nothing,
        "libbpf": its.stdout + its.stderr,
    }


def refusals(bundle: str) -> dict[str, str]:
    """What is said of functions that cannot be attached to."""
    with mounted_tracefs(), lskel.load(bundle) as bpf:
        program = bpf.progs.entered
        return {
            "nothing": _refusal(program.attach),
            "missing": _refusal(lambda: program.attach(["security_task_getsid", "nosuch"])),
            "twice": _refusal(lambda: program.attach(["security_task_getsid"] * 2)),
            "cookies": _refusal(lambda: program.attach("security_*", cookies=[1])),
            "no module": _refusal(lambda: program.attach("nosuch:f*")),
            "other number": _refusal(lambda: program.attach(["security_task_getsid"], cookies=[])),
            "kind": _refusal(
                lambda: attach_tracing_multi(
                    bpf.progs.probed.fileno(),
                    program.definition.attach_type,
                    ["security_task_getsid"],
                )
            ),
        }


def wide_patterns(bundle: str, listing: str) -> dict[str, Any]:
    """How many functions patterns attach to; and the ids of all functions, from Python and from C.

    `listing` is a C program that prints them.
    """
    with mounted_tracefs(), lskel.load(bundle) as bpf:
        counts = {}
        for pattern in ("tcp_*", "vfs_*", "*_read"):
            for program in (bpf.progs.entered, bpf.progs.left):
                with program.attach(pattern) as link:
                    counts[f"{program.name} {pattern}"] = link.info().details["count"]
        ours = matching_ids("*", KernelBtf().vmlinux)
        done = subprocess.run([listing], check=True, capture_output=True, text=True)
    its = sorted(map(int, done.stdout.split()))
    return {"counts": counts, "ours": len(ours), "differ": sorted(set(ours) ^ set(its))}


def children(bundle: str) -> list[int]:
    """How many cgroups an iterator visits: those in a cgroup, and those anywhere below it."""
    with lskel.load(bundle) as bpf, cgroup() as group:
        below = [group / "one", group / "two", group / "one" / "below"]
        for path in below:
            path.mkdir()
        try:
            orders = (CgroupOrder.CHILDREN, CgroupOrder.DESCENDANTS_PRE)
            return [len(bpf.progs.walk.read(cgroup=group, order=order)) for order in orders]
        finally:
            for path in reversed(below):
                path.rmdir()


def by_path_and_fd(bundle: str) -> list[dict[str, Any]]:
    """What the kernel says of two links: to a function in a library, by its path and by its fd."""
    with lskel.load(bundle) as bpf, ExitStack() as stack:
        program = bpf.progs.probed
        path = find_binary(LIBRARY)
        fd = stack.enter_context(Path(path).open("rb")).fileno()
        links = [program.attach(place, [FUNCTION]) for place in (path, fd)]
        return [dict(link.info().details) for link in links]


def c_skeleton(program: str) -> str:
    """Run the program; what it prints."""
    subprocess.run(["modprobe", MODULE], check=True)
    with mounted_tracefs():
        done = subprocess.run([program], check=False, capture_output=True, text=True)
    return f"{done.returncode} {done.stdout}{done.stderr}"


def _refusal(attach: Callable[[], object]) -> str:
    try:
        attach()
    except LskelError as error:
        return str(error)
    return ""
