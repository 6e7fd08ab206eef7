"""Choosing and running a code generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lskel.errors import LimitExceeded, UsageError
from lskel.loader.model import Form, Loader
from lskel.loader.notes import Notes
from lskel.trace import Trace

if TYPE_CHECKING:
    from lskel.object.model import Object


AUTO = "auto"
# For runners that cannot load BTF, as libbpf's bpf_load_and_run.
PLAIN = "plain"
# Verification of the walker takes as long as that of unrolled code for about this many maps and
# programs (benchmarks/results.md).
FASTER_UNROLLED = 2


def generate(
    source: Object | Trace,
    form: Form | str = Form.TABLE,
    *,
    attach: bool = False,
    debug: bool = False,
) -> Loader:
    """The loader of an object (or of its trace) in a form: `table`, `unrolled`, `auto` or `plain`.

    `auto` is the one that loads faster: unrolled for small objects. `plain` is unrolled, which
    needs no BTF, or table if the object is too large for that.

    With `attach` the loader of an object also attaches the programs that need nothing from user
    space. With `debug` it prints the results of its calls by bpf_trace_printk.

    LimitExceeded, before generating anything, if the object is too large for the form; NotSupported
    and BadObject as `Object.trace`.
    """
    trace = source if isinstance(source, Trace) else source.trace(attach=attach)
    if form == AUTO:
        is_small = len(trace.maps) + len(trace.programs) <= FASTER_UNROLLED
        form = Form.UNROLLED if is_small else Form.TABLE
    if form == PLAIN:
        try:
            return generate_form(trace, Form.UNROLLED, debug=debug)
        except LimitExceeded:
            form = Form.TABLE
    try:
        chosen = Form(form)
    except ValueError:
        known = ", ".join([*(f.value for f in Form), AUTO, PLAIN])
        raise UsageError(f"no loader form '{form}'", hint=f"available: {known}") from None
    return generate_form(trace, chosen, debug=debug)


def generate_form(
    trace: Trace, form: Form, *, debug: bool = False, notes: Notes | None = None
) -> Loader:
    """As `generate`; writes to `notes` what the instructions access."""
    # Imported on use: imports dominate the run time of `lskel gen`.
    if form is Form.TABLE:
        from lskel.loader.table.generate import tabulate

        return tabulate(trace, debug=debug, notes=notes)
    from lskel.loader.unrolled import unroll

    return unroll(trace, debug=debug, notes=notes)
