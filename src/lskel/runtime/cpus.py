"""The CPUs of this machine, as the kernel numbers them."""

from __future__ import annotations

from functools import cache

from lskel.runtime.files import read_text

_DIRECTORY = "/sys/devices/system/cpu"


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """The numbers in a list such as "0-3,8" (the kernel's cpulist format), in order."""
    cpus: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus)


@cache
def possible_cpus() -> tuple[int, ...]:
    """Possible CPUs: a per-CPU map has one value for each, in this order."""
    return parse_cpu_list(read_text(f"{_DIRECTORY}/possible"))


def online_cpus() -> tuple[int, ...]:
    """Online CPUs."""
    return parse_cpu_list(read_text(f"{_DIRECTORY}/online"))
