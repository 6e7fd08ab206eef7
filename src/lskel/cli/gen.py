"""lskel gen"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import click

from lskel.cli.common import (
    STDIN,
    form_option,
    generate_source,
    json_option,
    name_option,
    print_json,
)
from lskel.errors import LskelError, UsageError, at
from lskel.loader.bundle import dump
from lskel.loader.model import Loader

SUFFIX = ".lskel"


@click.command("gen")
@click.argument("objects", metavar="OBJ...", nargs=-1, required=True)
@click.option(
    "-o", "--output", required=True, metavar="X.lskel|DIR/", help="The file, or the directory."
)
@form_option
@name_option
@json_option
def command(
    objects: tuple[str, ...], output: str, form: str, name: str | None, as_json: bool
) -> int:
    """Write a bundle: the loader program for OBJ, its data and its description in one file.

    Several objects go to a directory, each as NAME.lskel; those that fail are reported, the
    others are written. `-` stands for standard input or output.

    \b
    Example:
        lskel gen hello.bpf.o -o hello.lskel
        lskel gen build/*.bpf.o -o bundles/
    """
    for source in objects:
        if _is_same(source, output):
            raise UsageError(f"{output}: would overwrite the object itself")
    into_directory = output.endswith("/") or Path(output).is_dir()
    if not into_directory:
        if len(objects) > 1:
            raise UsageError(f"{len(objects)} objects cannot go to one file", hint="use -o DIR/")
        return _one(objects[0], output, form, name, as_json)
    if name is not None and len(objects) > 1:
        raise UsageError("--name is for one object")
    return _many(objects, Path(output), form, name, as_json)


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
        "programs": sum(program.op is not None for program in loader.trace.programs),
    }


def _one(source: str, output: str, form: str, name: str | None, as_json: bool) -> int:
    loader = generate_source(source, name, form)
    content = dump(loader)
    if output == STDIN:
        sys.stdout.buffer.write(content)
        return 0
    loader.save(output)
    if as_json:
        print_json(_report(source, output, loader, len(content)))
    return 0


def _many(
    objects: tuple[str, ...], directory: Path, form: str, name: str | None, as_json: bool
) -> int:
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
            loader = generate_source(source, name, form)
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
