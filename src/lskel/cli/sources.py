"""What commands take: objects, bundles, headers of light skeletons."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from lskel.cli.generation import DEFAULT_FORM, Generation
from lskel.cli.terminal import show_warning
from lskel.cursor import ByteOrder
from lskel.elf.format import MAGIC as ELF_MAGIC
from lskel.errors import LskelError, UsageError, at
from lskel.input import read_input, read_standard_input
from lskel.loader.archive import MAGIC
from lskel.loader.generate import generate
from lskel.loader.model import Bytes, Loader
from lskel.object.model import Object
from lskel.object.open import default_name as name_of_file
from lskel.object.open import open_object

if TYPE_CHECKING:
    from lskel.replay.options import Options
    from lskel.replay.simulator.faults import Faults
    from lskel.replay.simulator.names import Names
    from lskel.replay.simulator.simulate import Replay

STDIN = "-"


def read(source: str) -> bytes:
    """The bytes of a file, or of standard input."""
    if source == STDIN:
        with at("standard input"):
            return read_standard_input()
    with at(source):
        return read_input(source)


def default_name(source: str) -> str:
    """What an object is called where nobody says: its file's name up to the first dot."""
    return "stdin" if source == STDIN else name_of_file(source)


def among(source: str, sources: Sequence[str]) -> AbstractContextManager[None]:
    """Put the source in front of errors where it is one of several."""
    return at(source) if len(sources) > 1 else nullcontext()


def labels(sources: Sequence[str]) -> list[str]:
    """What objects are called in the output: their names, or paths where names are alike."""
    names = [default_name(source) for source in sources]
    return [n if names.count(n) == 1 else s for n, s in zip(names, sources, strict=True)]


def open_source(source: str, generation: Generation) -> Object | Loader:
    """An object, with what is asked for, or a bundle, told apart by how the bytes begin."""
    return _open(read(source), source, generation)


def open_silently(source: str, generation: Generation) -> Object | Loader:
    """As `open_source`, for what is printed where nothing may be said, as names to complete."""
    return _opened(read(source), source, generation)


def to_loader(source: str, generation: Generation) -> Loader:
    """A loader: a bundle's, or one generated for an object."""
    return _loader(open_source(source, generation), source, generation)


def generate_source(source: str, generation: Generation, *, is_bundle_taken: bool) -> Loader:
    """A loader for an object; UsageError where it is a bundle and none is taken."""
    data = read(source)
    if kind_of(data) is Kind.BUNDLE:
        generation = generation._replace(form=None)  # which the caller sees to
        with at(source):
            if not is_bundle_taken:
                Loader.load(data)  # a damaged one is said to be so
                raise UsageError("this is a bundle already")
    return _loader(_open(data, source, generation), source, generation)


def to_run(source: str, generation: Generation, options: Options) -> tuple[Loader, Options]:
    """A loader and what to run it with."""
    return _to_run(read(source), source, generation, options)


class Kind(Enum):
    """What a file holds, by its first bytes."""

    OBJECT = "an object"
    BUNDLE = "a bundle"
    HEADER = "a light skeleton's header"


def kind_of(data: bytes) -> Kind:
    """What these bytes look like; an object where they look like nothing else."""
    if data.startswith(MAGIC):
        return Kind.BUNDLE
    if data.startswith(ELF_MAGIC):
        return Kind.OBJECT
    from lskel.loader.header import is_header

    return Kind.HEADER if is_header(data) else Kind.OBJECT


def simulate(
    data: bytes,
    source: str,
    generation: Generation,
    options: Options,
    *,
    names: Names | None = None,
    faults: Faults | None = None,
) -> Replay:
    """Replay what was read of an object, a bundle or a light skeleton's header in the simulator."""
    from lskel.loader.header import parse_header
    from lskel.replay.options import DEFAULTS
    from lskel.replay.simulator.kernel import SimulatedKernel
    from lskel.replay.simulator.run import run
    from lskel.replay.simulator.simulate import simulate as replay

    def kernel(order: ByteOrder) -> SimulatedKernel:
        return SimulatedKernel(order, names=names, faults=faults, cpus=os.cpu_count() or 1)

    kind = kind_of(data)
    if kind is not Kind.HEADER:
        loader, options = _to_run(data, source, generation, options)
        with at(source):
            return run(loader, options, kernel=kernel(loader.trace.order))
    with at(source):
        generation.check_unused(kind.value)
        if options != DEFAULTS:
            raise UsageError(f"what it is run with cannot be changed: this is {kind.value}")
        skeleton = parse_header(data.decode("utf-8", "replace"))
        context = bytes(skeleton.context_size)
        order = sys.byteorder
        return replay(skeleton.insns, skeleton.blob, context, order, kernel=kernel(order))


def _to_run(
    data: bytes, source: str, generation: Generation, options: Options
) -> tuple[Loader, Options]:
    generation, options = _split(data, generation, options)
    return _loader(_open(data, source, generation), source, generation), options


def _split(data: bytes, generation: Generation, options: Options) -> tuple[Generation, Options]:
    """The programs of a bundle are switched on and off when it is run."""
    if kind_of(data) is not Kind.BUNDLE:
        return generation, options
    return generation._replace(autoload={}), replace(options, autoload=generation.autoload)


class Opened(NamedTuple):
    """An object or a bundle, its loader or why there is none, and what that is to be run with.

    `problem` is also what is to be said of a bundle's bytes.
    """

    opened: Object | Loader
    loader: Loader | None
    problem: str
    options: Options


def open_to_look(data: bytes, source: str, generation: Generation, options: Options) -> Opened:
    """What was read of an object or a bundle, though there may be no loader for it."""
    generation, options = _split(data, generation, options)
    opened = _open(data, source, generation)
    if isinstance(opened, Loader):
        from lskel.replay.trust import REMARKS

        return Opened(opened, opened, REMARKS.get(opened.compared, ""), options)
    try:
        return Opened(opened, generate_from(opened, generation), "", options)
    except LskelError as error:
        return Opened(opened, None, str(error), options)


def applicable(
    kind: Kind, kinds: Iterable[Kind], generation: Generation, options: Options
) -> tuple[Generation, Options]:
    """The options for one of several files of these kinds, each of which takes what it can."""
    from lskel.replay.options import DEFAULTS

    kinds = set(kinds)
    is_generated = kind is not Kind.OBJECT and Kind.OBJECT in kinds
    is_fixed = kind is Kind.HEADER and len(kinds) > 1
    return Generation() if is_generated else generation, DEFAULTS if is_fixed else options


def _open(data: bytes, source: str, generation: Generation) -> Object | Loader:
    """What was read; where a bundle's bytes are not its description's, that is said first."""
    opened = _opened(data, source, generation)
    if not isinstance(opened, Loader):
        for remark in opened.remarks:
            show_warning(source, remark)
        return opened
    if opened.compared is Bytes.SAME:
        return opened
    from lskel.replay.trust import REMARKS, judged

    loader = judged(opened)
    show_warning(source, REMARKS[loader.compared])
    return loader


def _opened(data: bytes, source: str, generation: Generation) -> Object | Loader:
    with at(source):
        if kind_of(data) is Kind.BUNDLE:
            generation.check_unused(Kind.BUNDLE.value)
            return Loader.load(data)
        return generation.applied(open_object(data, generation.name or default_name(source)))


def _loader(opened: Object | Loader, source: str, generation: Generation) -> Loader:
    if isinstance(opened, Loader):
        return opened
    with at(source):
        return generate_from(opened, generation)


def generate_from(obj: Object, generation: Generation) -> Loader:
    """A loader of an object that has been opened."""
    form = generation.form or DEFAULT_FORM
    return generate(obj, form, attach=generation.links, debug=generation.debug)
