"""What several commands share: inputs, options, output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lskel.cursor import ByteOrder
from lskel.errors import UsageError, at
from lskel.loader.bundle import MAGIC
from lskel.loader.generate import generate
from lskel.loader.model import Form, Loader
from lskel.object.model import Object
from lskel.object.open import open_object

if TYPE_CHECKING:
    from lskel.replay.simulator.faults import Faults
    from lskel.replay.simulator.names import Names
    from lskel.replay.simulator.run import Replay

STDIN = "-"

_F = TypeVar("_F", bound=Callable[..., Any])


def source_argument(function: _F) -> _F:
    """The argument OBJ|X.lskel, `-` for standard input."""
    return click.argument("source", metavar="OBJ|X.lskel")(function)


def json_option(function: _F) -> _F:
    """--json"""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def name_option(function: _F) -> _F:
    """--name"""
    return click.option(
        "--name", help="The object's name [default: the file's, up to the first dot]."
    )(function)


def form_option(function: _F) -> _F:
    """--form"""
    return click.option(
        "--form",
        type=click.Choice([form.value for form in Form]),
        default=Form.UNROLLED.value,
        show_default=True,
        help="The form of the loader program.",
    )(function)


def read(source: str) -> bytes:
    """The bytes of a file, or of standard input."""
    if source == STDIN:
        if sys.stdin is None:
            raise UsageError("there is no standard input to read")
        return sys.stdin.buffer.read()
    with at(source):
        try:
            return Path(source).read_bytes()
        except OSError as error:
            raise UsageError(error.strerror or str(error)) from error


def default_name(source: str) -> str:
    """What an object is called where nobody says: its file's name up to the first dot."""
    return "stdin" if source == STDIN else Path(source).name.split(".", 1)[0] or "object"


def open_source(source: str, name: str | None = None) -> Object | Loader:
    """An object or a bundle, told apart by how its bytes begin."""
    return _open(read(source), source, name)


def to_loader(source: str, name: str | None = None, form: str = Form.UNROLLED.value) -> Loader:
    """A loader: a bundle's, or one generated for an object."""
    return _loader(open_source(source, name), source, form)


def generate_source(source: str, name: str | None, form: str) -> Loader:
    """A loader for an object; UsageError where it is a bundle."""
    opened = open_source(source, name)
    if isinstance(opened, Loader):
        with at(source):
            raise UsageError("this is a bundle already")
    return _loader(opened, source, form)


def _open(data: bytes, source: str, name: str | None) -> Object | Loader:
    with at(source):
        if data.startswith(MAGIC):
            return Loader.load(data)
        return open_object(data, name or default_name(source))


def _loader(opened: Object | Loader, source: str, form: str) -> Loader:
    if isinstance(opened, Loader):
        return opened
    with at(source):
        return generate(opened, form)


def simulate_source(
    source: str,
    name: str | None,
    form: str,
    *,
    names: Names | None = None,
    faults: Faults | None = None,
) -> Replay:
    """Replay an object, a bundle or a light skeleton's header in the simulator."""
    from lskel.loader.header import is_header, parse_header
    from lskel.replay.simulator.kernel import SimulatedKernel
    from lskel.replay.simulator.run import run, simulate

    def kernel(order: ByteOrder) -> SimulatedKernel:
        return SimulatedKernel(order, names=names, faults=faults, cpus=os.cpu_count() or 1)

    data = read(source)
    if not is_header(data) or data.startswith((MAGIC, b"\x7fELF")):
        loader = _loader(_open(data, source, name), source, form)
        with at(source):
            return run(loader, kernel=kernel(loader.trace.order))
    with at(source):
        skeleton = parse_header(data.decode("utf-8", "replace"))
        context = bytes(skeleton.context_size)
        order = sys.byteorder
        return simulate(skeleton.insns, skeleton.blob, context, order, kernel=kernel(order))


def pairs(options: Iterable[str], form: str) -> dict[str, str]:
    """Options of the form KEY=VALUE; UsageError, which names `form`, where one is not."""
    found: dict[str, str] = {}
    for option in options:
        key, sign, value = option.partition("=")
        if not (key and sign and value):
            raise UsageError(f"'{option}' is not {form}")
        if key in found:
            raise UsageError(f"'{key}' is given twice, as {found[key]} and as {value}")
        found[key] = value
    return found


def print_json(value: Any) -> None:
    """JSON for programs, indented for people."""
    click.echo(json.dumps(value, indent=2))
