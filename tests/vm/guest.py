"""What jobs ask of the machine that they run in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TypedDict


class Facts(TypedDict):
    """What machine and kernel it is."""

    release: str
    btf: bool  # the kernel's own types can be read
    cpus: int


def facts() -> Facts:
    """The facts of the running kernel."""
    return {
        "release": os.uname().release,
        "btf": Path("/sys/kernel/btf/vmlinux").exists(),
        "cpus": os.cpu_count() or 0,
    }


def load_modules(names: list[str]) -> None:
    """Load kernel modules."""
    subprocess.run(["modprobe", "--all", *names], check=True)
