"""Whether a loader's bytes may run, and what is to be said of them.

Bytes that are not what their trace generates run only where the user asks for it. Those of another
version of lskel are compared by the calls that they make in the simulator.
"""

from __future__ import annotations

from dataclasses import replace

from lskel.errors import BadBundle
from lskel.loader.model import Bytes, Loader
from lskel.loader.verify import regenerated
from lskel.replay.options import DEFAULTS, Options
from lskel.runtime.request import Request

_WHAT = "the bytes are not what the description generates"
# What whoever shows a loader that has been judged says first.
REMARKS = {
    Bytes.SAME_CALLS: "another version of lskel wrote it, and this one generates other bytes; "
    "both make the same calls in the simulator, which is one run, not a proof",
    Bytes.DIFFERENT: f"{_WHAT}; what they do in the simulator is one run, not a proof",
}


def judged(loader: Loader) -> Loader:
    """The loader; if another version of lskel wrote it, told whether its calls are the same.

    They are not, where what this version generates does not come to its end in the simulator.
    """
    if loader.compared is not Bytes.ANOTHER_VERSION:
        return loader
    return _compared(loader, DEFAULTS)


def _compared(loader: Loader, options: Options) -> Loader:
    """The calls, with these options and with all programs loaded, are the same or not."""
    from lskel.replay.simulator.loader_bytes import bare_run

    trace, ours = loader.trace, regenerated(loader)
    all_loaded = {p.name: True for p in trace.programs if p.op is not None}
    is_equal = ours is not None and not bare_run(ours, options).problem
    for one in (options, replace(options, autoload=all_loaded)):
        is_equal = is_equal and ours is not None and bare_run(ours, one) == bare_run(loader, one)
    return replace(loader, compared=Bytes.SAME_CALLS if is_equal else Bytes.DIFFERENT)


def check_bytes(loader: Loader, options: Options = DEFAULTS) -> None:
    """BadBundle where the bytes may not run with these options, unless these trust them."""
    if options.trust_bytes or loader.compared is Bytes.SAME:
        return
    found = judged(loader)
    if found.compared is Bytes.SAME_CALLS and options != DEFAULTS:
        found = _compared(found, options)
    if found.compared is Bytes.DIFFERENT:
        raise BadBundle(
            f"{loader.trace.name}: {_WHAT}", hint="--trust-bytes runs them all the same"
        )


def check_request(loader: Loader, request: Request) -> None:
    """BadBundle where another version wrote the bytes, and they make other calls for this request.

    `check_bytes` has seen the options only, not what was set since.
    """
    if loader.compared is Bytes.SAME:
        return
    from lskel.replay.simulator.loader_bytes import bare_request

    ours = regenerated(loader)
    if ours is None or bare_request(ours, request) != bare_request(loader, request):
        raise BadBundle(_WHAT, hint="--trust-bytes runs them all the same")


def check_carried(loader: Loader, *, trust: bool) -> None:
    """BadBundle where a skeleton may not carry the bytes: its user sets what was not compared."""
    if not trust and loader.compared is not Bytes.SAME:
        raise BadBundle(
            f"{loader.trace.name}: {_WHAT}",
            hint="generate from the object; --trust-bytes carries them all the same",
        )


def check_trace(loader: Loader) -> None:
    """BadBundle where the calls that the trace tells are not those of the bytes."""
    if judged(loader).compared is Bytes.DIFFERENT:
        raise BadBundle(
            f"{loader.trace.name}: {_WHAT}; "
            "--replay direct would make the calls of the description",
            hint="generate it from the object",
        )
