"""The reference: bpftool 7.8 with libbpf 1.8, from the backports to Debian 13.

It is run by the ld.so that comes with it; tests/debian.py unpacks both into .cache. The bpftool of
Debian 12, which other tests run, has the libbpf of Linux 6.1.
"""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from tests import debian

NAME = "bpftool 7.8"
VERSION = "7.8.0+7.3.4-1~bpo13+1"


@cache
def missing() -> str:
    """Why it cannot be had here; empty where it can."""
    return f"{NAME}: {why}" if (why := _fetched().why) else ""


@cache
def command() -> tuple[str, ...]:
    """What runs it; empty where it cannot be had here."""
    root = _fetched().root
    return () if root is None else debian.program(root, "usr/sbin/bpftool")


def run(*words: str | Path) -> str:
    """Its output; CalledProcessError, with its errors, where it fails."""
    done = subprocess.run(
        [*command(), *(str(word) for word in words)],
        capture_output=True,
        text=True,
        check=True,
        errors="replace",
    )
    return done.stdout


def _fetched() -> debian.Fetched:
    suites = ("trixie", "trixie-backports")
    return debian.fetch(f"bpftool-{VERSION}", suites, (), with_dependencies=(f"bpftool={VERSION}",))
