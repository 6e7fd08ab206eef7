"""lskel gen"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click

from lskel.cli import completers
from lskel.cli.common import json_option, only_for_one, pairs, same_file, trust_option
from lskel.cli.generation import Generation, generation_options
from lskel.cli.run_options import for_one, settings_options
from lskel.cli.sources import STDIN, generate_source
from lskel.cli.status import Status
from lskel.cli.terminal import note, print_file, print_json, progress
from lskel.errors import BadBundle, LskelError, UsageError, at
from lskel.loader.generate import AUTO, PLAIN, generate_form
from lskel.loader.model import Bytes, Form, Loader
from lskel.loader.verify import in_form
from lskel.output import write_whole
from lskel.replay.options import DEFAULTS, Options
from lskel.skeleton.generate import (
    FILE_NAMES,
    Language,
    SkeletonOptions,
    default_form,
    language_of,
    render,
)

# Starting a process costs as much as about ten objects.
_TASKS_A_WORKER, _TASKS_A_CHUNK = 16, 4


@click.command("gen")
@click.argument(
    "objects", metavar="OBJ...", nargs=-1, required=True, shell_complete=completers.files
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE|DIR/",
    shell_complete=completers.files,
    help="The output file or directory; X.lskel is a bundle, X.py and X.h are skeletons.",
)
@click.option(
    "--lang",
    type=click.Choice([language.value for language in Language]),
    help="What to write [default: by the suffix of --output, else a bundle].",
)
@click.option(
    "--runtime",
    type=click.Choice(["embed", "import"]),
    default="embed",
    show_default=True,
    help="Python: embed the runtime in the skeleton, or import it from an installed lskel.",
)
@click.option(
    "--event-type",
    "event_types",
    multiple=True,
    metavar="MAP=TYPE",
    shell_complete=completers.names(completers.buffers, then="="),
    help="The type of the events of a ring or perf buffer: TYPE of the object, or TYPE@FILE.h, a C "
    "header (clang) [default: a struct named like the map, or 'event'; else the one that its "
    "programs send, by debug information].",
)
@trust_option
@click.option("--standalone", is_flag=True, help="C: do not include libbpf headers.")
@generation_options
@settings_options
@json_option
def command(
    objects: tuple[str, ...],
    output: str,
    lang: str | None,
    runtime: str,
    event_types: tuple[str, ...],
    trust_bytes: bool,
    standalone: bool,
    generation: Generation,
    options: Options,
    as_json: bool,
) -> int:
    """Write a bundle or a skeleton: the loader program for OBJ, and the code that runs it.

    A bundle is one file for lskel. A Python skeleton (X.py) is a module with a class for the object
    and needs only the standard library; a C skeleton (X.h) is used like those of `bpftool gen
    skeleton -L`. OBJ may also be a bundle.

    Several objects are written to a directory, each by its name; errors are reported and the other
    objects are written. `-` is standard input or output.

    \b
    Example:
        lskel gen hello.bpf.o -o hello.lskel
        lskel gen hello.bpf.o -o hello_lskel.py
        lskel gen hello.bpf.o -o hello.lskel.h
        lskel gen build/*.bpf.o -o bundles/
        lskel gen parser.o -o parser.lskel --type parse=sk_skb:sk_skb_stream_parser
        lskel gen trace.bpf.o -o trace.lskel.h --map samples.max_entries=8
    """
    for source in objects:
        if same_file(source, output):
            raise UsageError(f"{output}: would overwrite the object itself")
    into_directory = output.endswith("/") or _is_directory(output)
    language = Language(lang) if lang else language_of(output)
    skeleton = SkeletonOptions(
        embed=runtime == "embed",
        standalone=standalone,
        trust_bytes=trust_bytes,
    )
    if event_types and language is Language.C:
        raise UsageError("--event-type does not apply to c: its events are what the caller casts")
    with at("--event-type"):
        generation = generation._replace(event_types=pairs(event_types, "MAP=TYPE"))
    how = _OutputGenerator(language, skeleton, generation, options)
    if not into_directory:
        if len(objects) > 1:
            raise UsageError(f"{len(objects)} objects cannot go to one file", hint="use -o DIR/")
        return _generate_one(objects[0], output, how, as_json)
    by_name = [*generation.for_one, *for_one(options), *(["--event-type"] if event_types else [])]
    only_for_one("gen", by_name, objects)
    return _generate_many(objects, Path(output), how, as_json)


def _is_directory(output: str) -> bool:
    try:
        return Path(output).is_dir()
    except OSError:  # not accessible; writing reports that
        return False


class _OutputGenerator(NamedTuple):
    """What to generate from an object."""

    language: Language
    skeleton: SkeletonOptions
    generation: Generation
    options: Options

    def make(self, source: str) -> tuple[Loader, bytes]:
        """The loader of an object, and the content of its output file."""
        form = self.generation.form or default_form(self.language, self.skeleton)
        is_bundle_taken = self.language is not Language.BUNDLE
        generation = self.generation._replace(form=form if isinstance(form, str) else form.value)
        loader = generate_source(
            source,
            generation,
            is_bundle_taken=is_bundle_taken,
            has_events=self.language is not Language.C,
        )
        with at(source):
            if self.options != DEFAULTS:
                loader = with_settings(loader, self.options, debug=generation.debug)
            if form not in (AUTO, PLAIN):  # a bundle may have another form
                loader = in_form(loader, Form(form))
            return loader, render(loader, self.language, self.skeleton)


def with_settings(loader: Loader, options: Options, *, debug: bool) -> Loader:
    """The loader of the same form for a trace with these settings.

    BadBundle for a bundle whose bytes are not what its trace generates.
    """
    from lskel.replay.settled import settled

    if loader.compared is not Bytes.SAME:
        raise BadBundle(
            f"{loader.trace.name}: its settings cannot be changed: the bytes do not match the "
            "description",
            hint="generate it from the object",
        )
    return generate_form(settled(loader.trace, options), loader.form, debug=debug)


def _report(source: str, output: str, loader: Loader, size: int) -> dict[str, Any]:
    return {
        "object": source,
        "output": output,
        "form": loader.form.value,
        "loader": {"insns": len(loader.insns) // 8, "blob": len(loader.blob)},
        "size": size,
        "maps": len(loader.trace.maps),
        "programs": sum(program.autoload for program in loader.trace.programs),
    }


def _generate_one(source: str, output: str, how: _OutputGenerator, as_json: bool) -> int:
    loader, content = how.make(source)
    if output == STDIN:
        print_file(content)
        return Status.OK
    write_whole(output, content)
    if as_json:
        print_json(_report(source, output, loader, len(content)))
    return Status.OK


class _Task(NamedTuple):
    """One of several objects, and its output file."""

    source: str
    target: Path
    how: _OutputGenerator

    def run(self) -> dict[str, Any]:
        """The report; with `error` if the object failed."""
        gc.enable()
        try:
            loader, content = self.how.make(self.source)
            write_whole(self.target, content)
        except LskelError as error:
            return {"object": self.source, "error": str(error)}
        return _report(self.source, str(self.target), loader, len(content))


def _generate_many(
    objects: tuple[str, ...], directory: Path, how: _OutputGenerator, as_json: bool
) -> int:
    with at(str(directory)):
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot create: {error.strerror}") from error
    tasks: dict[Path, _Task] = {}
    failures: list[dict[str, Any]] = []
    reports: list[dict[str, Any]] = []
    for source in objects:
        target = directory / _file_name(source, how.language)
        if target in tasks:
            taken = f"{source}: another object is written to {target}"
            failures.append({"object": source, "error": taken})
        tasks.setdefault(target, _Task(source, target, how))
    with (
        progress(len(tasks), shown=not as_json) as bar,
        _results(list(tasks.values())) as results,
    ):
        bar.now("generating")
        for done in results:
            (failures if "error" in done else reports).append(done)
            bar.advance()
    for failed in failures:
        note(f"lskel: {failed['error']}")
    if as_json:
        print_json({"generated": reports, "failed": failures})
    else:
        note(f"{len(reports)} of {len(objects)} objects generated in {directory}")
    return Status.FAILURE if failures else Status.OK


@contextmanager
def _results(tasks: list[_Task]) -> Iterator[Iterator[dict[str, Any]]]:
    """The results of the tasks, in order; with enough tasks, several run in parallel."""
    workers = min(os.cpu_count() or 1, len(tasks) // _TASKS_A_WORKER)
    if workers < 2:
        yield (task.run() for task in tasks)
        return
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(workers) as pool:
        try:
            yield pool.map(_Task.run, tasks, chunksize=_TASKS_A_CHUNK)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _file_name(source: str, language: Language) -> str:
    name = Path(source).name if source != STDIN else "stdin"
    for suffix in (".bpf.o", ".o", ".lskel"):
        if name.endswith(suffix):
            name = name[: -len(suffix)]
            break
    if language is Language.PYTHON:  # a module name must be an identifier
        name = "".join(c if c.isalnum() else "_" for c in name)
    return FILE_NAMES[language].format(name)
