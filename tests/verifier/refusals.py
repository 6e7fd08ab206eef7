"""Loads objects and keeps what the verifier says: here, and as a job of a machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from lskel.errors import LskelError, ReplayError
from lskel.loader import bundle
from lskel.loader.model import Loader
from tests.loads import load_directly

# The end of a log; those of programs that are too complex have many thousands.
_LINES = 2000


class Refusal(NamedTuple):
    """Why a load failed: an error in one line, and the verifier's log; empty where it loaded."""

    error: str
    log: tuple[str, ...]


def refusal(loader: Loader) -> Refusal:
    """Load by direct system calls, and let go."""
    try:
        load_directly(loader).close()
    except ReplayError as error:
        return Refusal(str(error), error.log[-_LINES:])
    except LskelError as error:
        return Refusal(str(error), ())
    return Refusal("", ())


def collect(bundles: Mapping[str, str]) -> dict[str, object]:
    """As a job: the kernel's release, and the refusals of bundles by their names."""
    found = {name: refusal(bundle.load(path)) for name, path in bundles.items()}
    return {"release": os.uname().release, "refusals": found}
