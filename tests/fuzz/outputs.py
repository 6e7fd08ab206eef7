"""What commands may write, whatever they have read: each check names what is wrong."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from types import ModuleType

from lskel.errors import LskelError
from lskel.loader.model import Loader
from tests.fuzz.names import MARK
from tests.fuzz.watch import SKELETON, Watch

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# Statements that a Python skeleton has at its top.
_STATEMENTS = (
    *(ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.ClassDef, ast.FunctionDef, ast.If),
    *(ast.For, ast.Try, ast.With, ast.Delete),
)
# C without what may hold anything: literals and comments.
_C_TEXT = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'""", re.DOTALL)
_C_CALL = re.compile(rf"\b{MARK}\s*\(")

Check = Callable[[bytes, Watch], str]


def unprintable(text: str) -> str:
    """What in a text for a terminal is neither printable nor a colour or a new line."""
    plain = _COLOUR.sub("", text).replace("\n", "")
    return "" if plain.isprintable() else repr(next(c for c in plain if not c.isprintable()))


def printed(content: bytes, _watch: Watch) -> str:
    """Text for a terminal."""
    wrong = unprintable(content.decode())
    return f"{wrong} on the terminal" if wrong else ""


def json_text(content: bytes, _watch: Watch) -> str:
    """JSON for programs."""
    try:
        json.loads(content)
    except ValueError:
        return "what is printed is not JSON"
    return ""


def page(content: bytes, _watch: Watch) -> str:
    """An HTML page."""
    return "a script in the page" if f"<script>{MARK}".encode() in content else ""


def bundle(content: bytes, _watch: Watch) -> str:
    """A bundle, which has to be read again."""
    try:
        Loader.load(content)
    except LskelError as error:
        return f"the bundle is refused: {_shape(str(error))}"
    return ""


def c_header(content: bytes, _watch: Watch) -> str:
    """A C skeleton: outside of literals and comments nothing is an input's."""
    if MARK.encode() not in content:
        return ""
    text = content.decode().replace("??/", "\\").replace("\\\r\n", "").replace("\\\n", "")
    return "a call in the header" if _C_CALL.search(_C_TEXT.sub(" ", text)) else ""


def python(content: bytes, watch: Watch) -> str:
    """A Python skeleton: definitions, and no call of an input's."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError) as error:
        return f"the module does not parse: {_shape(str(error))}"
    for statement in tree.body:
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not is_text and not isinstance(statement, _STATEMENTS):
            return f"the module has a statement {type(statement).__name__}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == MARK:
            return "a call in the module"
    return ""


def python_run(content: bytes, watch: Watch) -> str:
    """A Python skeleton that imports lskel: executed, it does nothing but define."""
    if wrong := python(content, watch):
        return wrong
    code = compile(content, SKELETON, "exec")
    module = ModuleType("skeleton")
    try:
        with watch.watching(strict=True):
            exec(code, module.__dict__)
    except Exception as error:  # noqa: BLE001 - whatever it raises is wrong
        return f"the module raises {type(error).__name__}: {_shape(str(error))}"
    return ""


def _shape(text: str) -> str:
    """A message without what differs from input to input."""
    return re.sub(r"'.*'|\".*\"|\d+", "_", text)[:120]
