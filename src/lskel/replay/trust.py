"""Whether a loader's bytes may run, and what is to be said of them.

Bytes that are not what their trace generates run only where the user asks for it. Those of another
version of lskel are compared by the calls that they make in the simulator.
"""

from __future__ import annotations

from dataclasses import replace

from lskel.errors import BadBundle
from lskel.loader.model import Bytes, Loader
from lskel.loader.verify import regenerated

_WHAT = "the bytes are not what the description generates"
# What whoever shows a loader that has been judged says first.
REMARKS = {
    Bytes.ANOTHER_VERSION: "another version of lskel wrote it, and this one generates other bytes; "
    "both make the same calls in the simulator, which is one run, not a proof",
    Bytes.DIFFERENT: f"{_WHAT}; what they do in the simulator is one run, not a proof",
}


def judged(loader: Loader) -> Loader:
    """The loader; if another version of lskel wrote it, DIFFERENT where its calls are.

    So it is, too, where what this version generates does not come to its end in the simulator.
    """
    if loader.compared is not Bytes.ANOTHER_VERSION:
        return loader
    from lskel.replay.simulator.loader_bytes import bare_run

    ours = regenerated(loader)
    run = None if ours is None else bare_run(ours)
    is_equal = run is not None and not run.problem and run == bare_run(loader)
    return loader if is_equal else replace(loader, compared=Bytes.DIFFERENT)


def check_bytes(loader: Loader, *, trust: bool) -> None:
    """BadBundle where the bytes may not run; `trust`: the user asks for it."""
    if not trust and judged(loader).compared is Bytes.DIFFERENT:
        raise BadBundle(
            f"{loader.trace.name}: {_WHAT}", hint="--trust-bytes runs them all the same"
        )


def check_trace(loader: Loader) -> None:
    """BadBundle where the calls that the trace tells are not those of the bytes."""
    if judged(loader).compared is Bytes.DIFFERENT:
        raise BadBundle(
            f"{loader.trace.name}: {_WHAT}; "
            "--replay direct would make the calls of the description",
            hint="generate it from the object",
        )
