"""lskel: light skeletons for eBPF, from Python.

    obj = lskel.open_object("hello.bpf.o")
    loader = lskel.generate(obj)
    with lskel.replay.kernel.run(loader) as loaded:
        print(loaded.programs, loaded.maps)

Names are imported when they are first used, so that `import lskel` costs nothing, and so that
`python -m lskel` imports nothing before it is out of the working directory.
"""

from lskel._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lskel import replay
    from lskel.errors import (
        BadBundle,
        BadInput,
        BadObject,
        Closed,
        LimitExceeded,
        LskelError,
        NoPermission,
        NotFound,
        NotSupported,
        ReplayError,
        UsageError,
    )
    from lskel.loader.generate import generate
    from lskel.loader.model import Loader
    from lskel.object.model import Object
    from lskel.object.open import open_object
    from lskel.replay.options import Options
    from lskel.trace import Trace

_LAZY = {
    "BadBundle": "lskel.errors",
    "BadInput": "lskel.errors",
    "BadObject": "lskel.errors",
    "Closed": "lskel.errors",
    "LimitExceeded": "lskel.errors",
    "Loader": "lskel.loader.model",
    "Object": "lskel.object.model",
    "LskelError": "lskel.errors",
    "NoPermission": "lskel.errors",
    "NotFound": "lskel.errors",
    "NotSupported": "lskel.errors",
    "Options": "lskel.replay.options",
    "ReplayError": "lskel.errors",
    "Trace": "lskel.trace",
    "UsageError": "lskel.errors",
    "generate": "lskel.loader.generate",
    "open_object": "lskel.object.open",
}

__all__ = [
    "BadBundle",
    "BadInput",
    "BadObject",
    "Closed",
    "LimitExceeded",
    "Loader",
    "LskelError",
    "NoPermission",
    "NotFound",
    "NotSupported",
    "Object",
    "Options",
    "ReplayError",
    "Trace",
    "UsageError",
    "__version__",
    "generate",
    "open_object",
    "replay",
]


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    if name == "replay":
        return import_module("lskel.replay")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'lskel' has no attribute {name!r}")
