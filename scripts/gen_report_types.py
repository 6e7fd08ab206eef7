"""Write web/src/report.d.ts: the report of `lskel explain` as TypeScript sees its JSON.

python scripts/gen_report_types.py            # writes it
python scripts/gen_report_types.py --check    # fails where it is not what it would write
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lskel.explain.report import Report

TARGET = Path(__file__).parent.parent / "web" / "src" / "report.d.ts"
_HEADER = """\
// Made by scripts/gen_report_types.py from src/lskel/explain/report.py.

/** Bytes, as hexadecimal digits. */
export type Hex = string;
"""
_PLAIN = {int: "number", float: "number", str: "string", bool: "boolean", bytes: "Hex"}


# Skeletons do without `typing`, so lskel.cursor has this for type checkers only.
_FOR_TYPE_CHECKERS = {"ByteOrder": Literal["little", "big"]}


def declarations(root: type) -> str:
    """The interfaces of a named tuple and of all that it is made of, those first that it names."""
    found: dict[str, str] = {}
    _declare(root, found)
    return "\n".join([_HEADER, *found.values()])


def _declare(cls: type, found: dict[str, str]) -> None:
    if cls.__name__ in found:
        return
    found[cls.__name__] = ""  # its place, also for types that contain themselves
    hints = get_type_hints(cls, localns=_FOR_TYPE_CHECKERS)
    fields = [f"  {name}: {_type(hints[name], found)};" for name in cls._fields]  # type: ignore[attr-defined]
    text = [*_comment(cls), f"export interface {cls.__name__} {{", *fields, "}", ""]
    found[cls.__name__] = "\n".join(text)


def _comment(cls: type) -> Iterator[str]:
    lines = [line.strip() for line in (cls.__doc__ or "").strip().splitlines()]
    yield "/**"
    yield from (f" * {line}".rstrip() for line in lines)
    yield " */"


def _type(hint: Any, found: dict[str, str]) -> str:
    if hint in _PLAIN:
        return _PLAIN[hint]
    if hint is type(None):
        return "null"
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " | ".join(_type(arg, found) for arg in args)
    if origin is Literal:
        return " | ".join(f'"{arg}"' for arg in args)
    if origin is tuple:
        if args[-1] is Ellipsis:
            return f"readonly {_element(args[0], found)}[]"
        return f"readonly [{', '.join(_type(arg, found) for arg in args)}]"
    if origin in (dict, Mapping):
        return f"Readonly<Record<string, {_type(args[1], found)}>>"
    if hasattr(hint, "_fields"):
        _declare(hint, found)
        return str(hint.__name__)
    raise TypeError(f"no TypeScript for {hint}")


def _element(hint: Any, found: dict[str, str]) -> str:
    text = _type(hint, found)
    return f"({text})" if " " in text else text


def main() -> int:
    """The exit status."""
    text = declarations(Report)
    if "--check" in sys.argv[1:]:
        same = TARGET.read_text() == text
        if not same:
            print(f"{TARGET} is not what {Path(__file__).name} writes", file=sys.stderr)
        return 0 if same else 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
