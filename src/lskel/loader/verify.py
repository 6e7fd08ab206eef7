"""Whether a loader's bytes are those that its trace generates.

Generation is deterministic: generating again tells. What differs may do anything, whatever the
description says; other bytes must not run in its place.
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
    """Compare what was read with what its trace generates.

    `context_size` is that which was read; `same_version`: this version of lskel claims to have
    written it.
    """
    if context_size == loader.context_size and regenerated(loader) == loader:
        return Bytes.SAME
    return Bytes.DIFFERENT if same_version else Bytes.ANOTHER_VERSION


def regenerated(loader: Loader, notes: Notes | None = None) -> Loader | None:
    """What the trace of a loader generates; None where it generates nothing."""
    # Only loaders that print (--debug) have messages.
    debug = any(r.op == NO_SINGLE_OP and r.field == "message" for r in loader.regions)
    try:
        return generate_form(loader.trace, loader.form, debug=debug, notes=notes)
    except LskelError:
        return None


def notes_of(loader: Loader) -> Notes | None:
    """What its instructions touch; None where they are not those that its trace generates."""
    if loader.compared is not Bytes.SAME:
        return None
    notes = Notes()
    regenerated(loader, notes)
    return notes


def in_form(loader: Loader, form: Form) -> Loader:
    """The loader in a form, generated from its trace where it has another.

    BadBundle where its bytes are not what its trace generates: others must not run in their place.
    A loader that is signed is to be refused here, too.
    """
    if loader.form is form:
        return loader
    if loader.compared is not Bytes.SAME:
        raise BadBundle(
            f"{loader.trace.name}: the {loader.form.value} form cannot become {form.value}: the "
            "bytes are not what the description generates",
            hint="generate it from the object",
        )
    return generate(loader.trace, form)


def undescribed(loader: Loader) -> Loader:
    """The loader to be shown: without its description, where that is not of its bytes."""
    if loader.compared is not Bytes.DIFFERENT:
        return loader
    nothing = Trace(loader.trace.name, loader.trace.order, (), (), ())
    return replace(loader, trace=nothing, regions=(Region(0, len(loader.blob), RegionKind.DATA),))
