"""Loading, as most tests want it: at once, with the options of the command line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lskel.loader.model import Loader
from lskel.replay.load import open_loader
from lskel.replay.options import DEFAULTS, Options
from lskel.skeleton.dynamic import DynamicCollection

Load = Callable[..., DynamicCollection]


def load_by_loader(loader: Loader, options: Options = DEFAULTS) -> DynamicCollection:
    """By running the loader program."""
    return open_loader(loader, options).load()


def load_directly(loader: Loader, options: Options = DEFAULTS) -> DynamicCollection:
    """By the calls of its trace, one by one."""
    return open_loader(loader, options, direct=True).load()


both = pytest.mark.parametrize("load", [load_by_loader, load_directly], ids=["kernel", "direct"])
