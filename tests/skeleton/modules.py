"""Python skeletons in tests: generated, and imported without a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import lskel
from lskel.loader.model import Loader
from lskel.skeleton.python import generate_python
from tests.build.clang import compile_bpf


def module_of(loader: Loader, *, embed: bool = False, **options: Any) -> ModuleType:
    """The module of a loader, imported."""
    text = generate_python(loader, embed=embed, **options)
    module = ModuleType(f"{loader.trace.name}_lskel")
    module.__file__ = f"{module.__name__}.py"
    code = compile(text, module.__file__, "exec")
    sys.modules[module.__name__] = module  # so that its classes know where they are
    exec(code, vars(module))
    return module


def skeleton_class(loader: Loader, **options: Any) -> Any:
    """The skeleton's class."""
    module = module_of(loader, **options)
    return next(
        value
        for name, value in reversed(vars(module).items())
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and "maps" in vars(value).get("__annotations__", {})
    )


def by_module(loader: Loader, **options: Any) -> Any:
    """The collection of a generated module."""
    return skeleton_class(loader, **options)()


def by_load(loader: Loader) -> Any:
    """The same, without a module."""
    return lskel.load(loader)


# What is true of a collection is so through both doors.
doors = pytest.mark.parametrize("door", [by_module, by_load], ids=["module", "load"])
Door = Callable[[Loader], Any]


def compiled(source: str, name: str = "test", form: str = "auto") -> Loader:
    """The loader of a C source."""
    return lskel.generate(lskel.open_object(compile_bpf(source), name), form)
