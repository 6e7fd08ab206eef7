"""The options that say what a loader is run with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lskel.cli import offers
from lskel.cli.common import gathered, pairs, trust_option
from lskel.cli.terminal import Progress, show_warning
from lskel.errors import UsageError, at
from lskel.replay.options import PIN_ROOT, Options

if TYPE_CHECKING:
    from lskel.loader.model import Loader
    from lskel.runtime.collection import Collection

_KCONFIG = "NAME=VALUE"
_TARGET = "PROGRAM=TARGET"
_MAX_ENTRIES = "MAP=N"
_VARIABLE = "SECTION.VARIABLE=VALUE"


def _options(
    kconfig: tuple[str, ...],
    targets: tuple[str, ...],
    max_entries: tuple[str, ...],
    variables: tuple[str, ...],
    pin_root: Path = PIN_ROOT,
    *,
    trust_pins: bool = False,
    trust_bytes: bool = False,
) -> Options:
    with at("--kconfig"):
        values = pairs(kconfig, _KCONFIG)
    with at("--target"):
        attach = pairs(targets, _TARGET)
    with at("--max-entries"):
        texts = pairs(max_entries, _MAX_ENTRIES)
        sizes = {name: _number(name, text) for name, text in texts.items()}
    with at("--set"):
        initial = pairs(variables, _VARIABLE)
    return Options(
        kconfig=values,
        targets=attach,
        max_entries=sizes,
        variables=initial,
        pin_root=pin_root,
        trust_pins=trust_pins,
        trust_bytes=trust_bytes,
    )


def for_one(options: Options) -> tuple[str, ...]:
    """The options given that make sense for one object only: they name its maps or programs."""
    given = {
        "--target": options.targets,
        "--max-entries": options.max_entries,
        "--set": options.variables,
    }
    return tuple(option for option, values in given.items() if values)


def load_loader(
    loader: Loader,
    options: Options,
    *,
    direct: bool = False,
    event_types: Mapping[str, str] | None = None,
) -> tuple[Collection, Loader | None]:
    """A collection that is loaded, and the loader that ran: none where calls are made directly."""
    from lskel.replay.kernel import LoaderKernel
    from lskel.replay.load import open_loader

    kernel = None if direct else LoaderKernel(loader, trust_bytes=options.trust_bytes)
    bpf = open_loader(loader, options, kernel=kernel, direct=direct, event_types=event_types)
    bpf.load()
    return bpf, None if kernel is None else kernel.loader


def warn_of_form(source: str, loader: Loader, ran: Loader | None, bar: Progress) -> None:
    """A warning where a loader of another form ran than was asked for."""
    if ran is None or ran.form is loader.form:
        return
    with bar.aside():
        what = f"this kernel does not take the {loader.form.value} form, so it was unrolled"
        show_warning(source, what)


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"'{name}={text}' is not {_MAX_ENTRIES}")
    if len(text) > len(str(1 << 32)):
        raise UsageError(f"'{name}={text}': no map has that many entries")
    return int(text)


_COMMON = (
    click.option(
        "--kconfig",
        multiple=True,
        metavar=_KCONFIG,
        shell_complete=offers.names(offers.configuration, then="="),
        help="A value of the kernel's configuration, such as CONFIG_HZ=250.",
    ),
    click.option(
        "--target",
        "targets",
        multiple=True,
        metavar=_TARGET,
        shell_complete=offers.names(offers.programs, then="="),
        help="What a program attaches to whose section name does not say it: a function, hook or "
        "tracepoint of the kernel, or PIN[:FUNCTION] or id:N[:FUNCTION] of a BPF program.",
    ),
    click.option(
        "--max-entries",
        multiple=True,
        metavar=_MAX_ENTRIES,
        shell_complete=offers.names(offers.maps, then="="),
        help="The size of a map.",
    ),
    click.option(
        "--set",
        "variables",
        multiple=True,
        metavar=_VARIABLE,
        shell_complete=offers.names(offers.variables, then="="),
        help="The initial value of a global variable, such as rodata.target_pid=42; members and "
        "elements as in C.",
    ),
)
_PINS = (
    click.option(
        "--pin-root",
        type=click.Path(path_type=Path),
        default=PIN_ROOT,
        show_default=True,
        metavar="DIR",
        shell_complete=offers.directories,
        help="Where maps are pinned that ask to be pinned by name.",
    ),
    click.option(
        "--trust-pins",
        is_flag=True,
        help="Use pins, and directories of pins, that other users own or may write to.",
    ),
)
# Argument `options`: for a command that simulates, for one that shows durations, too, and for those
# that load.
simulation_options = gathered("options", _options, *_COMMON)
measure_options = gathered("options", _options, *_COMMON, *_PINS)
run_options = gathered("options", _options, *_COMMON, *_PINS, trust_option)
