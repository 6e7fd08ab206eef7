"""lskel: light skeletons for eBPF, from Python.

    obj = lskel.open_object("hello.bpf.o")
    loader = lskel.generate(obj)
    with lskel.replay.kernel.run(loader) as loaded:
        print(loaded.programs, loaded.maps)

Names are imported when they are first used, so that `import lskel` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lskel._version import __version__
from lskel.errors import (
    BadBundle,
    BadInput,
    BadObject,
    LimitExceeded,
    LskelError,
    NoPermission,
    NotFound,
    NotSupported,
    ReplayError,
    UsageError,
)

if TYPE_CHECKING:
    from lskel import replay
    from lskel.loader.generate import generate
    from lskel.loader.model import Loader
    from lskel.object.model import Object
    from lskel.object.open import open_object
    from lskel.replay.options import Options
    from lskel.trace import Trace

_LAZY = {
    "Loader": "lskel.loader.model",
    "Object": "lskel.object.model",
    "Options": "lskel.replay.options",
    "Trace": "lskel.trace",
    "generate": "lskel.loader.generate",
    "open_object": "lskel.object.open",
}

__all__ = [
    "BadBundle",
    "BadInput",
    "BadObject",
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


def __getattr__(name: str) -> Any:
    if name == "replay":
        return import_module("lskel.replay")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'lskel' has no attribute {name!r}")
