"""The kernels that machines run: Debian's packages, unpacked into .cache."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests import debian


class Row(NamedTuple):
    """A series, of which the newest is taken, and what holds it: Debian suites and packages."""

    suites: tuple[str, ...]
    parts: tuple[str, ...] = ("image",)  # linux-PART-RELEASE


# By series, the oldest first. Since 7.0 an image is packages of its own.
_ROWS = {
    "6.1": Row(("bookworm", "bookworm-security")),
    "6.12": Row(("trixie", "trixie-security")),
    "6.18": Row(("trixie-backports",)),
    "7.3": Row(("trixie-backports",), ("binary", "modules", "base")),
}
SERIES = tuple(_ROWS)


class Kernel(NamedTuple):
    """A kernel, its modules and its configuration, below a directory as Debian installs them."""

    series: str
    root: Path
    release: str  # as uname says it

    @property
    def modules(self) -> Path:
        """The directory of its modules."""
        return self.root / "usr/lib/modules" / self.release

    @property
    def image(self) -> Path:
        """What boots; where it lies differs, as for `config`."""
        return self._either("vmlinuz")

    @property
    def config(self) -> str:
        """The text of its configuration file."""
        return self._either("config").read_text()

    @property
    def boot(self) -> Path | None:
        """What the package puts in /boot; None if nothing."""
        boot = self.root / "boot"
        return boot if boot.exists() else None

    def _either(self, name: str) -> Path:
        in_boot = self.root / "boot" / f"{name}-{self.release}"
        return in_boot if in_boot.exists() else self.modules / name


def find_kernel(series: str) -> Kernel | None:
    """The kernel of a series, fetched if it is not there yet; None if it cannot be had."""
    root = _fetched(series).root
    if root is None:
        return None
    release = max((root / "usr/lib/modules").iterdir(), key=lambda path: debian.version(path.name))
    return Kernel(series, root, release.name)


def missing(series: str) -> str:
    """Why there is no kernel of a series; empty if there is one."""
    return _fetched(series).why


def is_gone(series: str) -> bool:
    """Whether there is none because the mirror has no package of it."""
    return _fetched(series).gone


@cache
def _fetched(series: str) -> debian.Fetched:
    suites, parts = _ROWS[series]
    # Not those for clouds, which lack 9p, nor those for real time.
    release = rf"{re.escape(series)}\.[0-9.]+(-[0-9]+|\+deb[0-9]+)-amd64"
    packages = tuple(re.compile(f"linux-{part}-{release}") for part in parts)
    return debian.fetch(f"linux-{series}", suites, packages, finish=_prepare)


def _prepare(root: Path) -> None:
    """Modules lie in usr/lib, whichever package it is, and modprobe finds them."""
    if (root / "lib").exists():
        (root / "usr/lib").mkdir(parents=True, exist_ok=True)
        (root / "lib/modules").rename(root / "usr/lib/modules")
        (root / "lib").rmdir()
    (root / "lib").symlink_to("usr/lib")
    for modules in (root / "usr/lib/modules").iterdir():
        subprocess.run(["/sbin/depmod", "-b", root, modules.name], check=True)
