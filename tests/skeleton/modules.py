"""Python skeletons in tests: generated, and imported without a file."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

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


def compiled(source: str, name: str = "test", form: str = "auto") -> Loader:
    """The loader of a C source."""
    return lskel.generate(lskel.open_object(compile_bpf(source), name), form)
