"""lskel: light skeletons for eBPF, from Python.

    with lskel.load("execsnoop.bpf.o") as bpf:
        bpf.rodata.target_pid = 42
        bpf.attach()
        for event in bpf.maps.events:
            print(event)

Names are imported on first use, so that `import lskel` is fast, and `python -m lskel` imports
nothing before the working directory is removed from sys.path.
"""

from lskel._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lskel.errors import (
        BadBundle,
        BadInput,
        BadObject,
        Closed,
        LimitExceeded,
        LskelError,
        NoElement,
        NoPermission,
        NotFound,
        NotSupported,
        OutOfRange,
        ReadOnly,
        ReplayError,
        UnknownName,
        UsageError,
        WrongType,
        WrongValue,
    )
    from lskel.loader.generate import generate
    from lskel.loader.model import Loader
    from lskel.object.model import Object
    from lskel.object.open import open_object
    from lskel.replay.load import load
    from lskel.replay.options import Options
    from lskel.replay.simulator.local import SimulatedMachine
    from lskel.runtime.collection import Collection
    from lskel.trace import Trace

_LAZY = {
    "BadBundle": "lskel.errors",
    "BadInput": "lskel.errors",
    "BadObject": "lskel.errors",
    "Closed": "lskel.errors",
    "Collection": "lskel.runtime.collection",
    "LimitExceeded": "lskel.errors",
    "Loader": "lskel.loader.model",
    "LskelError": "lskel.errors",
    "NoElement": "lskel.errors",
    "NoPermission": "lskel.errors",
    "NotFound": "lskel.errors",
    "NotSupported": "lskel.errors",
    "Object": "lskel.object.model",
    "Options": "lskel.replay.options",
    "OutOfRange": "lskel.errors",
    "ReadOnly": "lskel.errors",
    "ReplayError": "lskel.errors",
    "SimulatedMachine": "lskel.replay.simulator.local",
    "Trace": "lskel.trace",
    "UnknownName": "lskel.errors",
    "UsageError": "lskel.errors",
    "WrongType": "lskel.errors",
    "WrongValue": "lskel.errors",
    "generate": "lskel.loader.generate",
    "load": "lskel.replay.load",
    "open_object": "lskel.object.open",
}

__all__ = [
    "BadBundle",
    "BadInput",
    "BadObject",
    "Closed",
    "Collection",
    "LimitExceeded",
    "Loader",
    "LskelError",
    "NoElement",
    "NoPermission",
    "NotFound",
    "NotSupported",
    "Object",
    "Options",
    "OutOfRange",
    "ReadOnly",
    "ReplayError",
    "SimulatedMachine",
    "Trace",
    "UnknownName",
    "UsageError",
    "WrongType",
    "WrongValue",
    "__version__",
    "generate",
    "load",
    "open_object",
]


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'lskel' has no attribute {name!r}")
