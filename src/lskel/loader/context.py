"""The context of a trace's loader."""

from __future__ import annotations

from lskel.bpf.context import *  # noqa: F403
from lskel.bpf.context import size
from lskel.trace import Trace


def size_of(trace: Trace) -> int:
    """Bytes of the context of a trace's loader."""
    return size(len(trace.maps), len(trace.programs), len(trace.inputs), len(trace.links))
