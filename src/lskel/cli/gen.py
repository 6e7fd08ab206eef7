"""lskel gen"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click

from lskel.cli.common import json_option, print_json
from lskel.cli.generation import Generation, generation_options
from lskel.cli.sources import STDIN, generate_source
from lskel.errors import LskelError, UsageError, at
from lskel.loader.bundle import dump
from lskel.loader.model import Loader

SUFFIX = ".lskel"
# Starting a process costs as much as some ten objects.
_TASKS_A_WORKER, _TASKS_A_CHUNK = 16, 4


@click.command("gen")
@click.argument("objects", metavar="OBJ...", nargs=-1, required=True)
@click.option(
    "-o", "--output", required=True, metavar="X.lskel|DIR/", help="The file, or the directory."
)
@generation_options
@json_option
def command(objects: tuple[str, ...], output: str, generation: Generation, as_json: bool) -> int:
    """Write a bundle: the loader program for OBJ, its data and its description in one file.

    Several objects go to a directory, each as NAME.lskel; those that fail are reported, the
    others are written. `-` stands for standard input or output.

    \b
    Example:
        lskel gen hello.bpf.o -o hello.lskel
        lskel gen build/*.bpf.o -o bundles/
        lskel gen parser.o -o parser.lskel --type parse=sk_skb:sk_skb_stream_parser
    """
    for source in objects:
        if _is_same(source, output):
            raise UsageError(f"{output}: would overwrite the object itself")
    into_directory = output.endswith("/") or Path(output).is_dir()
    if not into_directory:
        if len(objects) > 1:
            raise UsageError(f"{len(objects)} objects cannot go to one file", hint="use -o DIR/")
        return _one(objects[0], output, generation, as_json)
    by_name = [*(["--name"] if generation.name else []), *generation.by_name]
    if by_name and len(objects) > 1:
        raise UsageError(f"{', '.join(by_name)}: only for one object", hint="run gen for each")
    return _many(objects, Path(output), generation, as_json)


def _is_same(source: str, output: str) -> bool:
    paths = Path(source), Path(output)
    return all(path.is_file() for path in paths) and paths[0].samefile(paths[1])


def _report(source: str, output: str, loader: Loader, size: int) -> dict[str, Any]:
    return {
        "object": source,
        "output": output,
        "form": loader.form.value,
        "loader": {"insns": len(loader.insns) // 8, "blob": len(loader.blob)},
        "bundle": size,
        "maps": len(loader.trace.maps),
        "programs": sum(program.autoload for program in loader.trace.programs),
    }


def _one(source: str, output: str, generation: Generation, as_json: bool) -> int:
    loader = generate_source(source, generation)
    content = dump(loader)
    if output == STDIN:
        sys.stdout.buffer.write(content)
        return 0
    loader.save(output)
    if as_json:
        print_json(_report(source, output, loader, len(content)))
    return 0


class _Task(NamedTuple):
    """One of several objects, and where its bundle goes."""

    source: str
    target: Path
    generation: Generation

    def run(self) -> dict[str, Any]:
        """The report; with `error` where the object failed."""
        gc.enable()
        try:
            loader = generate_source(self.source, self.generation)
            loader.save(self.target)
        except LskelError as error:
            return {"object": self.source, "error": str(error)}
        return _report(self.source, str(self.target), loader, self.target.stat().st_size)


def _many(objects: tuple[str, ...], directory: Path, generation: Generation, as_json: bool) -> int:
    from rich.console import Console
    from rich.progress import track

    with at(str(directory)):
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot be made: {error.strerror}") from error
    tasks: dict[Path, _Task] = {}
    failures: list[dict[str, Any]] = []
    reports: list[dict[str, Any]] = []
    for source in objects:
        target = directory / (_stem(source) + SUFFIX)
        if target in tasks:
            taken = f"{source}: another object goes to {target} already"
            failures.append({"object": source, "error": taken})
        tasks.setdefault(target, _Task(source, target, generation))
    console = Console(stderr=True)
    with _results(list(tasks.values())) as results:
        for done in track(results, "Generating", total=len(tasks), console=console, transient=True):
            (failures if "error" in done else reports).append(done)
    for failed in failures:
        click.echo(f"lskel: {failed['error']}", err=True)
    if as_json:
        print_json({"generated": reports, "failed": failures})
    else:
        click.echo(f"{len(reports)} of {len(objects)} objects generated in {directory}", err=True)
    return 1 if failures else 0


@contextmanager
def _results(tasks: list[_Task]) -> Iterator[Iterator[dict[str, Any]]]:
    """What becomes of the tasks, in order; several run at once where there are enough of them."""
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


def _stem(source: str) -> str:
    name = Path(source).name if source != STDIN else "stdin"
    for suffix in (".bpf.o", ".o"):
        if name.endswith(suffix):
            return name[: -len(suffix)]
    return name
