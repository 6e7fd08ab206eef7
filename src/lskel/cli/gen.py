"""lskel gen"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import click

from lskel.cli.common import json_option, print_json
from lskel.cli.generation import Generation, generation_options
from lskel.cli.sources import STDIN, generate_source
from lskel.errors import LskelError, UsageError, at
from lskel.loader.bundle import dump
from lskel.loader.model import Loader

SUFFIX = ".lskel"


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


def _many(objects: tuple[str, ...], directory: Path, generation: Generation, as_json: bool) -> int:
    from rich.console import Console
    from rich.progress import track

    with at(str(directory)):
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot be made: {error.strerror}") from error
    console = Console(stderr=True)
    reports, failures, written = [], [], set[str]()
    gc.enable()
    for source in track(objects, "Generating", console=console, transient=True):
        target = directory / (_stem(source) + SUFFIX)
        try:
            if target.name in written:
                raise UsageError(f"{source}: another object has gone to {target} already")
            loader = generate_source(source, generation)
            loader.save(target)
        except LskelError as error:
            failures.append({"object": source, "error": str(error)})
            click.echo(f"lskel: {error}", err=True)
            continue
        written.add(target.name)
        reports.append(_report(source, str(target), loader, target.stat().st_size))
    if as_json:
        print_json({"generated": reports, "failed": failures})
    else:
        click.echo(f"{len(reports)} of {len(objects)} objects generated in {directory}", err=True)
    return 1 if failures else 0


def _stem(source: str) -> str:
    name = Path(source).name if source != STDIN else "stdin"
    for suffix in (".bpf.o", ".o"):
        if name.endswith(suffix):
            return name[: -len(suffix)]
    return name
