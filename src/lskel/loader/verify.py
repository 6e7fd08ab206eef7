"""Checking that a loader's bytes are those that its trace generates.

Generation is deterministic, so the loader is generated again. Bytes that differ may do anything,
whatever the description says, and must not be replaced silently.
"""

from __future__ import annotations

from dataclasses import replace

from lskel.errors import BadBundle, LskelError
from lskel.loader.blob import Region, RegionKind
from lskel.loader.generate import generate, generate_form
from lskel.loader.lower import NO_SINGLE_OP
from lskel.loader.model import Bytes, Form, Loader
from lskel.loader.notes import Notes
from lskel.trace import Trace


def compare(loader: Loader, *, context_size: object, same_version: bool) -> Bytes:
    """Compare a loader from a file with what its trace generates.

    `context_size` is that in the file; `same_version`: the file claims this version of lskel.
    """
    if context_size == loader.context_size and regenerated(loader) == loader:
        return Bytes.SAME
    return Bytes.DIFFERENT if same_version else Bytes.ANOTHER_VERSION


def regenerated(loader: Loader, notes: Notes | None = None) -> Loader | None:
    """The loader that the trace generates; None if it cannot be generated."""
    # Only --debug loaders have messages.
    debug = any(r.op == NO_SINGLE_OP and r.field == "message" for r in loader.regions)
    try:
        return generate_form(loader.trace, loader.form, debug=debug, notes=notes)
    except LskelError:
        return None


def notes_of(loader: Loader) -> Notes | None:
    """The notes on its instructions; None if its trace generates other instructions."""
    if loader.compared is not Bytes.SAME:
        return None
    notes = Notes()
    regenerated(loader, notes)
    return notes


def in_form(loader: Loader, form: Form | str) -> Loader:
    """The loader in a form (as `generate`), generated from its trace if it has another form.

    BadBundle if its bytes are not what its trace generates: they must not be replaced. Signed
    loaders must be refused here as well.
    """
    if loader.form is form:
        return loader
    if loader.compared is not Bytes.SAME:
        wanted = form.value if isinstance(form, Form) else form
        raise BadBundle(
            f"{loader.trace.name}: cannot convert the {loader.form.value} form to {wanted}: the "
            "bytes do not match the description",
            hint="generate it from the object",
        )
    return generate(loader.trace, form)


def undescribed(loader: Loader) -> Loader:
    """The loader for display: without its description if that does not match its bytes."""
    if loader.compared is not Bytes.DIFFERENT:
        return loader
    nothing = Trace(loader.trace.name, loader.trace.order, (), (), ())
    return replace(loader, trace=nothing, regions=(Region(0, len(loader.blob), RegionKind.DATA),))
