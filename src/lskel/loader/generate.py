"""Choosing and running a code generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lskel.errors import UsageError
from lskel.loader.model import Form, Loader
from lskel.loader.table.generate import tabulate
from lskel.loader.unrolled import unroll
from lskel.trace import Trace

if TYPE_CHECKING:
    from lskel.object.model import Object

_GENERATORS = {Form.TABLE: tabulate, Form.UNROLLED: unroll}


def generate(
    source: Object | Trace, form: Form | str = Form.UNROLLED, *, debug: bool = False
) -> Loader:
    """The loader of an object (or of its trace) in a form: `unrolled`.

    With `debug` the loader prints the result of each operation by bpf_trace_printk.

    LimitExceeded, before anything is generated, where the object is too large for the form;
    NotSupported and BadObject as `Object.trace` raises them.
    """
    try:
        chosen = Form(form)
    except ValueError:
        known = ", ".join(f.value for f in Form)
        raise UsageError(f"there is no loader form '{form}'", hint=f"there is: {known}") from None
    trace = source if isinstance(source, Trace) else source.trace()
    return _GENERATORS[chosen](trace, debug=debug)
