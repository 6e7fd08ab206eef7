"""What a case is: a way to attach, and what a kernel must have for it."""

from __future__ import annotations

import re
from typing import NamedTuple

from lskel.runtime.program import Program
from tests.attach.scenes import Setting

Version = tuple[int, int]


def version(release: str) -> Version:
    """(6, 1) of "6.1.0-56-amd64"."""
    major, minor = re.findall(r"\d+", release)[:2]
    return int(major), int(minor)


class Lack(NamedTuple):
    """What a kernel must have, and what is said where it has not.

    `since` is a version of Linux, `option` one of its configuration, `without` one that forbids it.
    Kernels before `unchecked_before` do not refuse what they do not have.
    """

    said: str
    since: Version = (0, 0)
    option: str = ""
    without: str = ""
    unchecked_before: Version = (0, 0)

    def lacks(self, release: str, config: str) -> bool:
        """Whether a kernel of such a name and configuration has not what it takes."""
        enabled = set(re.findall(r"^(\w+)=[ym]$", config, re.MULTILINE))
        return (
            self.unchecked_before <= version(release) < self.since
            or (bool(self.option) and self.option not in enabled)
            or self.without in enabled
        )


class Case(NamedTuple):
    """A way to attach a program of an object in tests/attach/bpf.

    `also` are other programs of it that are loaded. It is attached by links of bpf(2) since the
    version `linked_since`, by other means before it, and always where that is None.
    """

    name: str
    object: str
    program: str
    kind: type[Program]
    setting: Setting
    also: tuple[str, ...] = ()
    linked_since: Version | None = (0, 0)
    lack: Lack | None = None
