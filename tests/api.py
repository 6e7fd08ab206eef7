"""The public API, a line a name, as docs/api.md documents it.

`python -m tests.api > tests/api.txt` accepts a change.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "api.txt"


def documented() -> list[str]:
    """The names that docs/api.md shows, in its order."""
    found: list[str] = re.findall(r"^::: (lskel\S*)", (ROOT / "docs" / "api.md").read_text(), re.M)
    return found


def lines() -> Iterator[str]:
    """All names, with signatures and values."""
    yield from sorted(f"lskel.{name}" for name in import_module("lskel").__all__)
    for path in documented():
        yield ""
        yield from _described(path, _resolved(path))


def _resolved(path: str) -> Any:
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part, None)  # None: an alias for type checkers alone
        return found
    raise AssertionError(path)


def _described(path: str, found: Any) -> Iterator[str]:
    if isinstance(found, ModuleType):
        yield f"module {path}"
        for name, value in sorted(vars(found).items()):
            is_own = getattr(value, "__module__", None) == found.__name__
            if not name.startswith("_") and is_own and (inspect.isclass(value) or callable(value)):
                yield from _described(f"{path}.{name}", value)
    elif inspect.isclass(found):
        bases = ", ".join(base.__name__ for base in found.__bases__ if base is not object)
        yield f"class {path}({bases})"
        for name, value in sorted(vars(found).items()):
            if not name.startswith("_") or name == "__init__":
                yield from _member(f"{path}.{name}", value, found)
    elif callable(found):
        yield f"{path}{_signature(found)}"
    else:
        yield path


def _member(path: str, value: Any, owner: type) -> Iterator[str]:
    if isinstance(value, classmethod | staticmethod):
        yield f"  {type(value).__name__} {path}{_signature(value.__func__)}"
    elif isinstance(value, property):
        yield f"  property {path}"
    elif inspect.isfunction(value):
        yield f"  {path}{_signature(value)}"
    elif issubclass(owner, enum.Enum) and isinstance(value, owner):
        yield f"  {path} = {value.value!r}"
    else:
        yield f"  {path}"


def _signature(function: Any) -> str:
    # Defaults that are objects have addresses in their text.
    return re.sub(r" at 0x[0-9a-f]+", "", str(inspect.signature(function)))


if __name__ == "__main__":
    print("\n".join(lines()))
