"""The input of commands: objects, bundles, light skeleton headers."""

from __future__ import annotations

import os
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
    from lskel.replay.simulator.names import KernelNames
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
    """The default name of an object: its file name up to the first dot."""
    return "stdin" if source == STDIN else name_of_file(source)


def among(source: str, sources: Sequence[str]) -> AbstractContextManager[None]:
    """Prefix errors with the source if there are several."""
    return at(source) if len(sources) > 1 else nullcontext()


def labels(sources: Sequence[str]) -> list[str]:
    """The labels of objects in the output: their names, or paths if names are ambiguous."""
    names = [default_name(source) for source in sources]
    return [n if names.count(n) == 1 else s for n, s in zip(names, sources, strict=True)]


def open_source(source: str, generation: Generation) -> Object | Loader:
    """An object with the options applied, or a bundle; the first bytes decide which."""
    return open_data(read(source), source, generation)


def open_silently(source: str, generation: Generation) -> Object | Loader:
    """As `open_source`, without warnings: for shell completion."""
    return _opened(read(source), source, generation)


def to_loader(source: str, generation: Generation) -> Loader:
    """The loader of a bundle, or one generated for an object."""
    return _loader(open_source(source, generation), source, generation)


def generate_source(
    source: str, generation: Generation, *, is_bundle_taken: bool, has_events: bool
) -> Loader:
    """A loader for an object; UsageError for a bundle if none is accepted.

    With `has_events` it says which buffers have no type of events, and what to do.
    """
    data = read(source)
    if kind_of(data) is FileKind.BUNDLE:
        generation = generation._replace(form=None)  # the caller applies the form
        with at(source):
            if not is_bundle_taken:
                Loader.load(data)  # reports a damaged one
                raise UsageError("already a bundle")
    opened = open_data(data, source, generation)
    loader = _loader(opened, source, generation)
    if has_events and isinstance(opened, Object):
        from lskel.load_phase.event_search import untyped_buffers

        for untyped in untyped_buffers(loader.trace, opened):
            what = f"map '{untyped.map}': events are bytes: {untyped.why} ({untyped.remedy})"
            show_warning(source, what)
    return loader


def to_run(source: str, generation: Generation, options: Options) -> tuple[Loader, Options]:
    """A loader and the options to run it with."""
    return _to_run(read(source), source, generation, options)


class FileKind(Enum):
    """What a file holds, by its first bytes."""

    OBJECT = "an object"
    BUNDLE = "a bundle"
    HEADER = "a light skeleton header"


def kind_of(data: bytes) -> FileKind:
    """The kind of file by its first bytes; an object if unknown."""
    if data.startswith(MAGIC):
        return FileKind.BUNDLE
    if data.startswith(ELF_MAGIC):
        return FileKind.OBJECT
    from lskel.loader.header import is_header

    return FileKind.HEADER if is_header(data) else FileKind.OBJECT


def simulate(
    data: bytes,
    source: str,
    generation: Generation,
    options: Options,
    *,
    names: KernelNames | None = None,
    faults: Faults | None = None,
) -> Replay:
    """Replay an object, a bundle or a light skeleton header in the simulator."""
    from lskel.loader.header import parse_header
    from lskel.replay.options import DEFAULTS
    from lskel.replay.simulator.kernel import SimulatedKernel
    from lskel.replay.simulator.run import run
    from lskel.replay.simulator.simulate import simulate as replay

    def kernel(order: ByteOrder) -> SimulatedKernel:
        return SimulatedKernel(order, names=names, faults=faults, cpus=os.cpu_count() or 1)

    kind = kind_of(data)
    if kind is not FileKind.HEADER:
        loader, options = _to_run(data, source, generation, options)
        with at(source):
            return run(loader, options, kernel=kernel(loader.trace.order))
    with at(source):
        generation.check_unused(kind.value)
        if options != DEFAULTS:
            raise UsageError(f"options to run with cannot be applied to {kind.value}")
        skeleton = parse_header(data.decode("utf-8", "replace"))
        context = bytes(skeleton.context_size)
        order = skeleton.order
        return replay(skeleton.insns, skeleton.blob, context, order, kernel=kernel(order))


def _to_run(
    data: bytes, source: str, generation: Generation, options: Options
) -> tuple[Loader, Options]:
    generation, options = _split(data, generation, options)
    return _loader(open_data(data, source, generation), source, generation), options


def _split(data: bytes, generation: Generation, options: Options) -> tuple[Generation, Options]:
    """A bundle takes autoload options when it runs, an object when its loader is generated."""
    if kind_of(data) is not FileKind.BUNDLE:
        return generation, options
    return generation._replace(autoload={}), replace(options, autoload=generation.autoload)


class OpenedSource(NamedTuple):
    """An object or a bundle, its loader or the reason why it has none, and the run options.

    `problem` is also the remark on a bundle's bytes.
    """

    opened: Object | Loader
    loader: Loader | None
    problem: str
    options: Options


def open_for_display(
    data: bytes, source: str, generation: Generation, options: Options
) -> OpenedSource:
    """Open an object or a bundle, even if no loader can be generated for it."""
    generation, options = _split(data, generation, options)
    opened = open_data(data, source, generation)
    if isinstance(opened, Loader):
        from lskel.replay.trust import REMARKS

        return OpenedSource(opened, opened, REMARKS.get(opened.compared, ""), options)
    try:
        return OpenedSource(opened, generate_from(opened, generation), "", options)
    except LskelError as error:
        return OpenedSource(opened, None, str(error), options)


def applicable(
    kind: FileKind, kinds: Iterable[FileKind], generation: Generation, options: Options
) -> tuple[Generation, Options]:
    """The options that apply to one of several files of these kinds."""
    from lskel.replay.options import DEFAULTS

    kinds = set(kinds)
    is_generated = kind is not FileKind.OBJECT and FileKind.OBJECT in kinds
    is_fixed = kind is FileKind.HEADER and len(kinds) > 1
    return Generation() if is_generated else generation, DEFAULTS if is_fixed else options


def open_data(data: bytes, source: str, generation: Generation) -> Object | Loader:
    """Open the input; warn if a bundle's bytes do not match its description."""
    opened = _opened(data, source, generation)
    if not isinstance(opened, Loader):
        for remark in opened.remarks:
            show_warning(source, remark)
        return opened
    if opened.compared is Bytes.SAME:
        return opened
    from lskel.replay.trust import REMARKS, with_comparison

    loader = with_comparison(opened)
    show_warning(source, REMARKS[loader.compared])
    return loader


def _opened(data: bytes, source: str, generation: Generation) -> Object | Loader:
    with at(source):
        if kind_of(data) is FileKind.BUNDLE:
            generation.check_unused(FileKind.BUNDLE.value)
            return Loader.load(data).with_event_types(generation.event_types)
        return generation.applied(open_object(data, generation.name or default_name(source)))


def _loader(opened: Object | Loader, source: str, generation: Generation) -> Loader:
    if isinstance(opened, Loader):
        return opened
    with at(source):
        return generate_from(opened, generation)


def generate_from(obj: Object, generation: Generation) -> Loader:
    """A loader for an open object."""
    form = generation.form or DEFAULT_FORM
    return generate(obj, form, attach=generation.links, debug=generation.debug)
