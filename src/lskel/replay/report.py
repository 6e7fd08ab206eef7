"""The error for an operation of a trace that failed."""

from __future__ import annotations

import errno

from lskel.catalog.map_types import MAPS_OF_MAPS
from lskel.describe.phrases import phrase
from lskel.errors import ReplayError
from lskel.runtime import failure as runtime
from lskel.trace import MapCreate, Trace

_NO_TEMPLATE = "its inner map is not defined: add __array(values, struct { ... }) to it"


def failure(trace: Trace, number: int, code: int, log: tuple[str, ...] = ()) -> ReplayError:
    """The error for operation `number` of the trace, which got errno `code` (positive)."""
    op = trace.ops[number]
    error = runtime.failure(trace.name, number, phrase(trace, op), code, log)
    no_template = isinstance(op, MapCreate) and op.type in MAPS_OF_MAPS and op.inner is None
    if no_template and code != errno.EPERM:
        error.hint = _NO_TEMPLATE
    return error
